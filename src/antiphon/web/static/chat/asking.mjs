/** What a person answers about a call, and when a key or a click may be meant for it. */
import { compact } from "./json.mjs";

/** Milliseconds in which whoever presses a key has not read the question that just came. */
const TOO_SOON_MS = 300;

/** Milliseconds without typing after which a key or a click may be meant for a question. */
const PAUSE_MS = 1000;

/**
 * Whether something pressed now may be an answer to what appeared then.
 *
 * `moved` is when anything else last was answered: what stood below has moved up under the pointer.
 * `typed` is when something was last typed or pasted elsewhere in the page. A key that is held down
 * repeats, and says nothing.
 *
 * @param {{now: number, appeared: number, moved: number, typed?: number, repeated?: boolean, clicks?: number}} pressed
 */
export const isMeant = ({ now, appeared, moved, typed = -Infinity, repeated = false, clicks = 1 }) =>
  !repeated && clicks <= 1 && now - appeared >= TOO_SOON_MS && now - moved >= TOO_SOON_MS && now - typed >= PAUSE_MS;

/**
 * What is wrong with typed arguments: null where nothing is, an empty text where they are JSON and
 * no object.
 *
 * @param {string} typed
 * @returns {string | null}
 */
export function jsonError(typed) {
  try {
    compact(typed);
    return null;
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** The arguments to send where they differ from those that were asked about. @param {string} typed @param {string} asked */
export function editedArguments(typed, asked) {
  const now = compact(typed);
  return jsonError(asked) === null && compact(asked) === now ? undefined : now;
}
