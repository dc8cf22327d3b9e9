/** Checks of answers about a call: edited arguments, and accidental keys and clicks. */
import { compact } from "./json.mjs";

/** Milliseconds after a question appears in which nobody can have read it. */
const TOO_SOON_MS = 300;

/** Milliseconds after the last typing in which keys and clicks do not count as an answer. */
const PAUSE_MS = 1000;

/**
 * Returns true if a key or click may be meant as an answer.
 *
 * `appeared` is when the question appeared. `moved` is when another one was last answered, which moves
 * the layout under the pointer. `typed` is when something was last typed or pasted elsewhere in the
 * page. Repeats of a held key do not count.
 *
 * @param {{now: number, appeared: number, moved: number, typed?: number, repeated?: boolean, clicks?: number}} pressed
 */
export const isMeant = ({ now, appeared, moved, typed = -Infinity, repeated = false, clicks = 1 }) =>
  !repeated && clicks <= 1 && now - appeared >= TOO_SOON_MS && now - moved >= TOO_SOON_MS && now - typed >= PAUSE_MS;

/**
 * Returns the error in typed arguments: null if there is none, an empty text if they are JSON but not
 * an object.
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

/** Returns the edited arguments, or undefined if they equal those of the question. @param {string} typed @param {string} asked */
export function editedArguments(typed, asked) {
  const now = compact(typed);
  return jsonError(asked) === null && compact(asked) === now ? undefined : now;
}
