/**
 * Tracks how much of a scrolling column was seen: only what came into view next to what was in view
 * before. A jump to the end does not count its middle as seen.
 *
 * @typedef {{top: number, height: number, whole: number}} View  pixels of the column: where its view begins, how high it is, and the column's height
 */

/** Pixels by which a browser may round. */
const ROUNDING = 2;

/**
 * Returns the pixels of the column seen so far, after `before` pixels.
 *
 * @param {number} before @param {View} view
 */
export const seenTo = (before, { top, height }) => (top <= before + ROUNDING ? Math.max(before, top + height) : before);

/** Returns true if the whole column has been seen. @param {number} seen @param {View} view */
export const isSeenWhole = (seen, { whole }) => seen >= whole - ROUNDING;

/** Returns the start of the next part, which repeats the last line of this one. @param {number} seen @param {View} view */
export const nextPart = (seen, { height, whole }) => Math.max(0, Math.min(seen - Math.min(24, height / 4), whole - height));
