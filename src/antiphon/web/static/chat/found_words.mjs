/** The marks of found words, which the browser keeps under a name. */

export const FOUND_WORDS = "found-words";

/** Removes all marks. */
export function unmarkWords() {
  if (typeof Highlight !== "undefined") CSS.highlights.delete(FOUND_WORDS);
}
