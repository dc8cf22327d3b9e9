/**
 * Decides by scroll positions if the view follows the end of a conversation.
 *
 * @typedef {{top: number, height: number, view: number}} Scrolled  where it is, of how much, seen at once
 */

/** Pixels from the end that count as the end when scrolling down. */
const NEAR = 24;

/** Rounding of pixels on screens that have more or fewer of them. */
const ROUNDING = 1;

/** Pixels between what is seen and the end. @param {Scrolled} scrolled */
const gap = ({ top, height, view }) => height - view - top;

/**
 * Returns true if the reader has left the end, after the view moved.
 *
 * Up is away, however little. A view that stays at the end when the text shrinks has not gone up.
 * Down is back once the end is near.
 *
 * @param {boolean} away
 * @param {Scrolled} before
 * @param {Scrolled} now
 */
export function isAway(away, before, now) {
  if (now.top < before.top && gap(now) > ROUNDING) return true;
  if (now.top > before.top && gap(now) <= NEAR) return false;
  return gap(now) <= ROUNDING ? false : away;
}
