/**
 * Heading levels of an answer for screen readers: each one level below its parent.
 *
 * Models begin with any level and leave levels out; how large a heading is drawn stays as they chose.
 *
 * @module
 */

/** The heading of the page is the first. */
const TOP = 2;

/** Says of each heading in an answer what rank it has. @param {Element} answer */
export function rank(answer) {
  const headings = [...answer.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  const levels = ranks(headings.map(({ tagName }) => Number(tagName[1])));
  headings.forEach((heading, place) => heading.setAttribute("aria-level", String(levels[place])));
}

/** Ranks in place of levels, none left out on the way down. @param {readonly number[]} levels */
export function ranks(levels) {
  /** @type {number[]} */
  const above = [];
  return levels.map((level) => {
    while (above.length && above[above.length - 1] >= level) above.pop();
    above.push(level);
    return TOP + above.length - 1;
  });
}
