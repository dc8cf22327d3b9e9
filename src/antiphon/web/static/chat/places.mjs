/**
 * Places in a prompt that are filled in, such as `{{city}}`.
 *
 * @module
 */

/** @typedef {{name: string, start: number, end: number}} Place  where its mark stands in the text */

const MARK = /\{\{[ \t]*([^{}\s](?:[^{}\n]{0,58}[^{}\s])?)[ \t]*\}\}/g;

/** Returns the places of a text, in order. @param {string} text @returns {Place[]} */
export const findPlaces = (text) =>
  [...text.matchAll(MARK)].map((found) => ({ name: found[1], start: found.index, end: found.index + found[0].length }));

/** Returns how many places of different names a text has. @param {string} text */
export const countPlaces = (text) => new Set(findPlaces(text).map(({ name }) => name)).size;

/**
 * Returns the text with what was written at a place in all other places of its name, and the position
 * behind what was written.
 *
 * @param {string} text @param {string} name of the place
 * @param {number} start of what was written @param {number} end of it
 * @returns {{text: string, end: number}}
 */
export function fillAlike(text, name, start, end) {
  const written = text.slice(start, end);
  const fill = (/** @type {string} */ piece) => piece.replace(MARK, (mark, found) => (found === name ? written : mark));
  const before = fill(text.slice(0, start));
  return { text: before + written + fill(text.slice(end)), end: before.length + written.length };
}

/**
 * Returns the place behind a position, or the first one; null if there is none.
 *
 * @param {string} text @param {number} from @param {boolean} [back] the place before the position, or the last one
 * @returns {Place | null}
 */
export function nextPlace(text, from, back = false) {
  const places = findPlaces(text);
  const found = back ? places.findLast(({ end }) => end <= from) : places.find(({ start }) => start >= from);
  return found ?? places.at(back ? -1 : 0) ?? null;
}
