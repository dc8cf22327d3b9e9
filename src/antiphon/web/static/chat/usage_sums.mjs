/** Usage added up for charts: by day, by model, by owner. */

/**
 * @typedef {object} Row  usage of one model by one person on one day
 * @property {string} day  "2026-11-21"
 * @property {string} model
 * @property {string} owner
 * @property {string} person  name of the person
 * @property {number} runs
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {number | null} cost
 * @property {number} unpriced  runs and other requests without a known price
 * @property {number} audio_seconds  of recordings that the provider counts in seconds
 *
 * @typedef {"tokens" | "cost" | "runs" | "audio" | "unpriced"} Measure
 */

export const MEASURES = /** @type {const} */ (["tokens", "cost", "runs", "audio"]);

/** @type {Record<Measure, (row: Row) => number>} */
const AMOUNTS = {
  tokens: (row) => row.input_tokens + row.output_tokens,
  cost: (row) => row.cost ?? 0,
  runs: (row) => row.runs,
  audio: (row) => row.audio_seconds,
  unpriced: (row) => row.unpriced,
};

/** Returns the sum over all rows. */
export function sum(/** @type {readonly Row[]} */ rows, /** @type {Measure} */ measure) {
  return rows.reduce((whole, row) => whole + AMOUNTS[measure](row), 0);
}

/**
 * Returns one amount for each of the last days, today last, days without use included. Days are in UTC.
 *
 * @param {readonly Row[]} rows
 * @param {Measure} measure
 * @param {number} days
 * @param {Date} now
 */
export function sumByDay(rows, measure, days, now) {
  const last = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  return Array.from({ length: days }, (_, index) => {
    const day = new Date(last - (days - 1 - index) * 86_400_000).toISOString().slice(0, 10);
    return { day, amount: sum(rows.filter((row) => row.day === day), measure) };
  });
}

/**
 * Returns the amount of each model or owner, the largest first.
 *
 * @param {readonly Row[]} rows
 * @param {"model" | "person"} by
 * @param {Measure} measure
 */
export function rank(rows, by, measure) {
  const names = [...new Set(rows.map((row) => row[by]))];
  return names
    .map((name) => ({ name, amount: sum(rows.filter((row) => row[by] === name), measure) }))
    .sort((one, other) => other.amount - one.amount);
}
