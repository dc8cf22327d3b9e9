/**
 * Follows one run to its end, through disconnects.
 *
 * One connection at a time. If the stream stops before the run does, it reconnects after the last event,
 * with growing pauses. Silence counts as a disconnect.
 *
 * @module
 */

import { NOTHING, foldEvents, isOver, isWaiting, saysDone } from "./reduce.mjs";
import { eventReader } from "./sse.mjs";

/** Silence that counts as a disconnect: two missed heartbeats of ten seconds. */
const SILENCE_MS = 20_000;
/** Silence after which a connection is not trusted once the machine or the network is back. */
const DOUBTFUL_MS = 12_000;
/** Interval at which a run that waits for the user is checked: another tab may have answered. */
const WAITING_MS = 4_000;
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 15_000;

/**
 * @typedef {import("./reduce.mjs").Live} Live
 *
 * @typedef {object} Clock
 * @property {(ms: number, signal: AbortSignal) => Promise<void>} pause  ends early, and quietly, when aborted
 * @property {() => number} random  from 0 to 1
 * @property {() => number} now  milliseconds, going on while the machine sleeps
 *
 * @typedef {object} Following
 * @property {(live: Live, signal: AbortSignal) => Promise<Response>} attach
 *   asks for what follows; rejects with a `Problem` that has `fatal` where asking again is in vain
 * @property {(live: Live) => void} onChange  after each piece that came over the wire
 * @property {(connected: boolean) => void} onLine  whether the stream flows
 * @property {AbortSignal} signal  ends the following, not the run
 * @property {Live} [live]  what is known already
 * @property {Clock} [clock]
 * @property {number} [silenceMs]
 * @property {(wake: () => void) => void} [onWake]
 *   gives what to call when there may be news: it ends a pause, and tries a line that was silent
 */

/** @type {Clock} */
export const CLOCK = {
  pause: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    }),
  random: Math.random,
  now: Date.now,
};

/**
 * Follow a run until it is over, and return its message. Rejects with what `attach` says is fatal,
 * and with an `AbortError` when `signal` is aborted.
 *
 * @param {Following} following
 * @returns {Promise<Live>}
 */
export async function follow(following) {
  const { onChange, onLine, signal, clock = CLOCK, onWake } = following;
  let live = following.live ?? NOTHING;
  let failures = 0;
  while (!isOver(live)) {
    const before = live;
    const fault = await attachOnce(following, live, (now) => {
      live = now;
      failures = 0;
      onChange(now);
    });
    signal.throwIfAborted();
    if (isOver(live) || (fault === NO_CONTENT && live === before)) break;
    const waiting = isWaiting(live) && !fault;
    if (!waiting) onLine(false);
    const wait = waiting ? withJitter(WAITING_MS, clock) : pauseAfter(failures, fault, clock);
    failures += 1;
    await sleep(wait, signal, clock, onWake);
  }
  return live;
}

/** Result of a 204: the run has ended, and its message is in the history. */
const NO_CONTENT = Symbol("no content");

/**
 * @param {Following} following @param {Live} live @param {(live: Live) => void} take
 * @returns {Promise<unknown>} what broke it, or undefined where it came to an orderly end
 */
async function attachOnce({ attach, onLine, signal, clock = CLOCK, silenceMs = SILENCE_MS, onWake }, live, take) {
  const silence = watch(silenceMs, signal, clock);
  onWake?.(silence.doubt);
  try {
    const response = await attach(live, silence.signal);
    if (response.status === 204 || !response.body) return NO_CONTENT;
    onLine(true);
    return await readAll(response.body, live, take, silence.heard);
  } catch (error) {
    signal.throwIfAborted();
    if (/** @type {any} */ (error)?.fatal) throw error;
    return error ?? new Error("broken");
  } finally {
    silence.end();
  }
}

/**
 * @param {ReadableStream<Uint8Array>} body @param {Live} live
 * @param {(live: Live) => void} take @param {() => void} heard
 */
async function readAll(body, live, take, heard) {
  const decoder = new TextDecoder();
  const read = eventReader();
  const reader = body.getReader();
  let now = live;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return undefined;
    heard();
    const events = read(decoder.decode(value, { stream: true }));
    if (events.length) take((now = foldEvents(now, events)));
    if (!saysDone(events)) continue;
    await reader.cancel();
    return undefined;
  }
}

/**
 * Returns a signal that aborts after a silence.
 *
 * @param {number} ms @param {AbortSignal} outer @param {Clock} clock
 */
function watch(ms, outer, clock) {
  const broken = new AbortController();
  let timer = new AbortController();
  let heardAt = clock.now();
  const begin = () => {
    heardAt = clock.now();
    const own = (timer = new AbortController());
    void clock.pause(ms, own.signal).then(() => own.signal.aborted || broken.abort());
  };
  begin();
  return {
    signal: AbortSignal.any([outer, broken.signal]),
    heard: () => (timer.abort(), begin()),
    doubt: () => clock.now() - heardAt > DOUBTFUL_MS && broken.abort(),
    end: () => timer.abort(),
  };
}

/** @param {number} failures @param {any} fault @param {Clock} clock */
function pauseAfter(failures, fault, clock) {
  const asked = Number(fault?.retryAfter) * 1000;
  const grown = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures, 10), LONGEST_PAUSE_MS);
  return Math.max(withJitter(grown, clock), Number.isFinite(asked) ? asked : 0);
}

/** Returns 0.5 to 1.5 times the duration, so that pages do not all reconnect at once. @param {number} ms @param {Clock} clock */
const withJitter = (ms, clock) => ms * (0.5 + clock.random());

/** @param {number} ms @param {AbortSignal} signal @param {Clock} clock @param {Following["onWake"]} onWake */
async function sleep(ms, signal, clock, onWake) {
  const woken = new AbortController();
  onWake?.(() => woken.abort());
  await clock.pause(ms, AbortSignal.any([signal, woken.signal]));
  signal.throwIfAborted();
}
