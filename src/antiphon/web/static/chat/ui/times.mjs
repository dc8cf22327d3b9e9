/** Dates and times for display. */
import { language, t } from "../t.mjs";

const STEPS = /** @type {const} */ ([
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
]);

/** Formats the time passed: "3 hours ago"; "just now" within the minute. */
export function ago(/** @type {number} */ moment, /** @type {number} */ now = Date.now()) {
  const past = now - moment;
  const [unit, length] = STEPS.find(([, milliseconds]) => past >= milliseconds) ?? [];
  if (!unit || !length) return t("times.now");
  return new Intl.RelativeTimeFormat(language.value, { numeric: "auto" }).format(-Math.floor(past / length), unit);
}

/** Formats day and time, short. */
export function moment(/** @type {number} */ at) {
  const written = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(language.value, /** @type {any} */ (written)).format(new Date(at));
}

/** Formats the time of day; of another day than today, that day too. */
export function time(/** @type {number} */ at) {
  const [then, today] = [new Date(at), new Date()];
  if (then.toDateString() !== today.toDateString()) return moment(at);
  return new Intl.DateTimeFormat(language.value, { timeStyle: "short" }).format(then);
}

/** Formats the day, short. */
export function day(/** @type {string} */ day) {
  const written = { month: "short", day: "numeric", timeZone: "UTC" };
  return new Intl.DateTimeFormat(language.value, /** @type {any} */ (written)).format(new Date(`${day}T00:00:00Z`));
}
