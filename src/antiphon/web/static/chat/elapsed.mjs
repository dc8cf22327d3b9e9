/**
 * Elapsed times, counted in the page so that the server need not report them every second.
 *
 * Start times are stored by name outside the elements, which are replaced while an answer streams.
 */
import { signal, useEffect } from "./vendor/ui.mjs";

/** @type {Map<string, {begun: number, reported: number, took: number | null}>} */
const clocks = new Map();

/** The page's time in milliseconds; updated only while a component uses it. */
const now = signal(0);
let users = 0;
let interval = 0;

/**
 * Returns the seconds that something has run, or ran; null if its start was not seen.
 *
 * `reported` are seconds counted by the server: it may have started before the page was open.
 *
 * @param {string} name
 * @param {boolean} running
 * @param {number} [reported]
 */
export function useSeconds(name, running, reported = 0) {
  useEffect(() => (running ? startTicking() : undefined), [running]);
  if (running) return secondsSince(name, reported, Math.max(now.value, performance.now()));
  const clock = clocks.get(name);
  if (!clock) return reported > 0 ? reported : null;
  clock.took ??= (performance.now() - clock.begun) / 1000;
  return reported > clock.reported ? reported : clock.took;
}

/** @param {string} name @param {number} reported @param {number} at */
function secondsSince(name, reported, at) {
  const kept = clocks.get(name);
  const clock = kept && kept.reported >= reported ? kept : { begun: at - reported * 1000, reported, took: null };
  clocks.set(name, clock);
  return (at - clock.begun) / 1000;
}

function startTicking() {
  users += 1;
  if (users === 1) interval = window.setInterval(() => (now.value = performance.now()), 1000);
  return () => {
    users -= 1;
    if (users === 0) window.clearInterval(interval);
  };
}
