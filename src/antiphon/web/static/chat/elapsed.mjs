/**
 * How long things take, counted in the page: a server that says it every second would be noise.
 *
 * Beginnings are kept by name beside the elements, which come and go while an answer streams.
 */
import { signal, useEffect } from "./vendor/ui.mjs";

/** @type {Map<string, {begun: number, told: number, took: number | null}>} */
const clocks = new Map();

/** The page's time in milliseconds; it moves only while somebody looks. */
const now = signal(0);
let lookers = 0;
let ticking = 0;

/**
 * Seconds for which this goes on, or went on; null where that was never seen.
 *
 * `told` are seconds that the server counted: it may have begun before the page was there.
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
