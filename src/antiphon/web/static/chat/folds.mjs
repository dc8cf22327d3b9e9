/**
 * What the reader opened or closed, by name.
 *
 * It is kept beside the elements, which come and go while an answer streams: what was closed stays
 * closed when the message in progress becomes the saved one.
 */
import { signal } from "./vendor/ui.mjs";

/** @type {Map<string, {value: boolean | null}>} */
const folds = new Map();

/**
 * Whether this is open, and a way to open or close it. As long as the reader has not said, `usual`
 * holds, which may change.
 *
 * @param {string} name
 * @param {boolean} usual
 * @returns {[boolean, (open: boolean) => void]}
 */
export function useFold(name, usual) {
  const kept = folds.get(name) ?? signal(/** @type {boolean | null} */ (null));
  folds.set(name, kept);
  return [
    kept.value ?? usual,
    (open) => {
      kept.value = open;
    },
  ];
}
