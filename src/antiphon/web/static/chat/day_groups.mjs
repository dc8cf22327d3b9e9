/** Grouping by day, counted back from today. */

const DAY = 24 * 60 * 60 * 1000;

/**
 * @template {{updated_at: number}} Item
 * @typedef {{day: {name: "today"|"yesterday"|"week"|"month"} | {month: Date}, items: Item[]}} Group
 */

/**
 * Groups items by day: today, yesterday, the last 7 and 30 days, then months.
 *
 * The items come last changed first, and stay so. Days begin at midnight where the reader is.
 *
 * @template {{updated_at: number}} Item
 * @param {readonly Item[]} items
 * @param {Date} now
 * @returns {Group<Item>[]}
 */
export function groupByDay(items, now) {
  /** @type {Group<Item>[]} */
  const groups = [];
  for (const item of items) {
    const day = dayOf(new Date(item.updated_at), now);
    const last = groups.at(-1);
    if (last && keyOf(last.day) === keyOf(day)) last.items.push(item);
    else groups.push({ day, items: [item] });
  }
  return groups;
}

/** Returns the group's unique name: "today", "2026-3". */
export function keyOf(/** @type {Group<any>["day"]} */ day) {
  return "name" in day ? day.name : `${day.month.getFullYear()}-${day.month.getMonth()}`;
}

function dayOf(/** @type {Date} */ moment, /** @type {Date} */ now) {
  const today = midnight(now);
  // Rounded, for a day on which clocks change has 23 hours or 25.
  const ago = Math.round((today.getTime() - midnight(moment).getTime()) / DAY);
  if (ago <= 0) return { name: /** @type {const} */ ("today") };
  if (ago === 1) return { name: /** @type {const} */ ("yesterday") };
  if (ago <= 7) return { name: /** @type {const} */ ("week") };
  if (ago <= 30) return { name: /** @type {const} */ ("month") };
  return { month: new Date(moment.getFullYear(), moment.getMonth(), 1) };
}

function midnight(/** @type {Date} */ moment) {
  return new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());
}
