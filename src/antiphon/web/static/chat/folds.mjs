/**
 * Sections that the reader opened or closed, by name.
 *
 * State is stored outside the elements, which are replaced while an answer streams: a closed section
 * stays closed when the live message becomes the saved one.
 */
import { signal } from "./vendor/ui.mjs";

/** @type {Map<string, {value: boolean | null}>} */
const folds = new Map();

/**
 * Returns true if a section is open, and a setter. `usual` is the default until the reader chooses; it may
 * change.
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
