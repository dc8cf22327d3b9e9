/**
 * How much of a column that scrolls a reader has passed: only what came into view in one go with what
 * was in view before. Who jumps to its end has not seen its middle.
 *
 * @typedef {{top: number, height: number, whole: number}} View  pixels of the column: where its view begins, how high it is, and the column's height
 */

/** Pixels by which a browser may round. */
const ROUNDING = 2;

/**
 * How far down the column has been seen now, after `before` pixels.
 *
 * @param {number} before @param {View} view
 */
export const seenTo = (before, { top, height }) => (top <= before + ROUNDING ? Math.max(before, top + height) : before);

/** Whether nothing is left below what has been seen. @param {number} seen @param {View} view */
export const isSeenWhole = (seen, { whole }) => seen >= whole - ROUNDING;

/** Where the next part begins: a line of the last one stays in view. @param {number} seen @param {View} view */
export const nextPart = (seen, { height, whole }) => Math.max(0, Math.min(seen - Math.min(24, height / 4), whole - height));
