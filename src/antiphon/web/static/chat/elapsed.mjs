/**
 * Elapsed times, counted in the page so that the server need not report them every second.
 *
 * Start times are stored by name outside the elements, which are replaced while an answer streams.
 */
import { signal, useEffect } from "./vendor/ui.mjs";

/** @type {Map<string, {begun: number, told: number, took: number | null}>} */
const clocks = new Map();

/** The page's time in milliseconds; updated only while a component uses it. */
const now = signal(0);
let lookers = 0;
let ticking = 0;

/**
 * Returns the seconds that something has run, or ran; null if its start was not seen.
 *
 * `told` are seconds counted by the server: it may have started before the page was open.
 *
 * @param {string} name
 * @param {boolean} running
 * @param {number} [told]
 */
export function useSeconds(name, running, told = 0) {
  useEffect(() => (running ? startTicking() : undefined), [running]);
  if (running) return secondsSince(name, told, Math.max(now.value, performance.now()));
  const clock = clocks.get(name);
  if (!clock) return told > 0 ? told : null;
  clock.took ??= (performance.now() - clock.begun) / 1000;
  return told > clock.told ? told : clock.took;
}

/** @param {string} name @param {number} told @param {number} at */
function secondsSince(name, told, at) {
  const kept = clocks.get(name);
  const clock = kept && kept.told >= told ? kept : { begun: at - told * 1000, told, took: null };
  clocks.set(name, clock);
  return (at - clock.begun) / 1000;
}

function startTicking() {
  lookers += 1;
  if (lookers === 1) ticking = window.setInterval(() => (now.value = performance.now()), 1000);
  return () => {
    lookers -= 1;
    if (lookers === 0) window.clearInterval(ticking);
  };
}
