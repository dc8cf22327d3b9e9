/**
 * Heading levels of an answer for screen readers: each one level below its parent.
 *
 * Models begin with any level and skip levels. The size of a heading stays as they chose.
 *
 * @module
 */

/** Rank of an answer's first heading; the page's own heading has rank 1. */
const TOP = 2;

/** Sets `aria-level` on each heading of an answer. @param {Element} answer */
export function setHeadingRanks(answer) {
  const headings = [...answer.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  const levels = headingRanks(headings.map(({ tagName }) => Number(tagName[1])));
  headings.forEach((heading, place) => heading.setAttribute("aria-level", String(levels[place])));
}

/** Returns ranks for these levels, without gaps on the way down. @param {readonly number[]} levels */
export function headingRanks(levels) {
  /** @type {number[]} */
  const above = [];
  return levels.map((level) => {
    while (above.length && above[above.length - 1] >= level) above.pop();
    above.push(level);
    return TOP + above.length - 1;
  });
}
