/**
 * The open thread: its messages, and the run whose stream is read.
 *
 * A run is followed by at most one stream. Leaving the thread ends the stream, not the run; coming back
 * shows all of it again.
 *
 * @module
 */

import { fetchOk, get } from "./api.mjs";
import { mergeMessages, withAnswer } from "./history.mjs";
import { CLOCK, follow } from "./stream.mjs";
import { isWaiting } from "./reduce.mjs";
import { beginsTemporary, current, live, lost, opening, phase, problem, run, threadOptions, threadSystem, toolStatus } from "./store.mjs";
import { loadMessageViews } from "./ui/messages.mjs";
import { batch } from "./vendor/ui.mjs";

/** Messages in a page: enough for the tallest screen, and fast to load. */
export const PAGE = 40;

/** Most messages in a page. */
const LARGEST_PAGE = 500;

/** @typedef {import("./reduce.mjs").Live} Live */

/**
 * @typedef {object} Followed  the stream that is read now
 * @property {AbortController} leaving
 * @property {() => void} wake
 * @property {boolean} connected
 * @property {boolean} stopping
 * @property {Live | null} newest  what has come, shown or not yet
 */

/** @type {{followed: Followed | null, opened: AbortController}} */
const view = { followed: null, opened: new AbortController() };

/** Returns true if a stream is being read. */
export const isFollowing = () => view.followed !== null;

/** Reconnects at once: the network is back, the page is visible again, or a question was answered. */
export const wake = () => view.followed?.wake();

/** Leaves the thread; its run goes on. */
export function stopFollowing() {
  view.opened.abort();
  view.opened = new AbortController();
  view.followed?.leaving.abort();
  view.followed = null;
  batch(() => {
    live.value = null;
    run.value = null;
    toolStatus.value = {};
    phase.value = "idle";
    problem.value = null;
  });
}

/** Shows an empty chat. */
export function closeThread() {
  stopFollowing();
  batch(() => {
    current.value = null;
    opening.value = null;
    lost.value = null;
    threadSystem.value = null;
    threadOptions.value = {};
    beginsTemporary.value = false;
  });
}

/**
 * Opens a thread at its end. Returns the response, or null if another thread was opened meanwhile.
 *
 * @param {string} id
 */
export async function loadThread(id) {
  stopFollowing();
  const { signal } = view.opened;
  opening.value = id;
  lost.value = null;
  beginsTemporary.value = false;
  const [answer] = await Promise.all([messagesOf(id, { limit: PAGE }, signal), loadMessageViews()]);
  if (!answer || signal.aborted) return null;
  batch(() => {
    opening.value = null;
    show(answer);
  });
  return answer;
}

/** Reloads the newest messages and merges them. @returns {Promise<Record<string, any> | null>} */
export async function refresh() {
  const { signal } = view.opened;
  const id = current.value?.thread.id;
  if (!id) return null;
  const answer = await messagesOf(id, { limit: PAGE }, signal);
  if (!answer || signal.aborted || current.value?.thread.id !== id) return null;
  const { messages, hasEarlier } = current.value;
  const { kept, whole } = mergeMessages(messages, answer.messages);
  show({ ...answer, messages: kept, has_earlier: whole ? answer.has_earlier : hasEarlier });
  return answer;
}

/** Loads the page of messages before the first one shown, or so many. */
export async function loadEarlier(limit = PAGE) {
  const { signal } = view.opened;
  const shown = current.value;
  const first = shown?.messages[0]?.metadata.number;
  if (!shown?.hasEarlier || first === undefined) return;
  const answer = await messagesOf(shown.thread.id, { limit, before: first }, signal);
  if (!answer || signal.aborted || !current.value || current.value.messages[0]?.metadata.number !== first) return;
  current.value = {
    ...current.value,
    messages: [...answer.messages, ...current.value.messages],
    hasEarlier: answer.has_earlier ?? false,
  };
}

/**
 * Loads messages up to this number. Returns the message that holds it, or null while there are more
 * to load: then the shown messages change.
 *
 * @param {number} number @returns {import("./history.mjs").Message | null}
 */
export function loadUpTo(number) {
  const { messages, hasEarlier } = /** @type {import("./store.mjs").Current} */ (current.value);
  const first = messages[0]?.metadata.number;
  if (hasEarlier && first !== undefined && first > number) {
    void loadEarlier(Math.min(LARGEST_PAGE, first - number + PAGE));
    return null;
  }
  return messages.findLast(({ metadata }) => (metadata.number ?? Infinity) <= number) ?? messages[0] ?? null;
}

/** @param {string} id @param {Record<string, any>} query @param {AbortSignal} signal @returns {Promise<Record<string, any> | null>} */
async function messagesOf(id, query, signal) {
  try {
    return await get(`/api/threads/${id}/messages`, { query, signal });
  } catch (/** @type {any} */ error) {
    if (signal.aborted) return null;
    if (error.status === 404) return notFound(id);
    if (error.name !== "Problem") throw error;
    problem.value = error;
    return null;
  }
}

/** @param {string} id */
function notFound(id) {
  batch(() => {
    lost.value = id;
    opening.value = null;
  });
  return null;
}

/** @param {Record<string, any>} answer */
function show({ thread, messages, branches, system, has_earlier }) {
  current.value = { thread, messages, branches: branches ?? [], system: system ?? null, hasEarlier: has_earlier ?? false };
  threadSystem.value = system ?? null;
  threadOptions.value = thread.options ?? {};
}

/** Requests the stream of a run after the known events. @param {string} id @param {Live} known @param {AbortSignal} signal */
export const attachToRun = (id, known, signal) =>
  fetchOk(`/api/runs/${id}/stream?sdk=5${known.cursor ? `&after=${encodeURIComponent(known.cursor)}` : ""}`, { signal });

/**
 * Follows a run until it is over and draws it as it grows. Returns its final state, or null if the
 * thread was left. Rejects with a fatal `Problem`.
 *
 * @param {(live: Live, signal: AbortSignal) => Promise<Response>} attach
 * @param {(live: Live) => void} [onMessage]  called once, when the first part has come
 * @returns {Promise<Live | null>}
 */
export async function followRun(attach, onMessage) {
  const leaving = new AbortController();
  const followed = { leaving, wake: () => {}, connected: true, stopping: false, newest: null };
  view.followed?.leaving.abort();
  view.followed = followed;
  const draw = createDrawer(followed);
  let known = false;
  try {
    return await follow({
      attach,
      clock: CLOCK,
      signal: leaving.signal,
      onWake: (wakeUp) => (followed.wake = wakeUp),
      onLine: (connected) => {
        followed.connected = connected;
        phase.value = phaseOf(followed);
      },
      onChange: (now) => {
        if (now.message && !known) {
          known = true;
          run.value = { id: now.message.id, status: "in_progress" };
          onMessage?.(now);
        }
        draw(now);
      },
    });
  } catch (/** @type {any} */ error) {
    if (leaving.signal.aborted) return null;
    throw error;
  } finally {
    if (view.followed === followed) view.followed = null;
  }
}

/** Marks that a stop was requested; the stream goes on until the run has ended. */
export function markStopping() {
  setStopping(true);
}

/** Removes that mark after a stop has failed. */
export function unmarkStopping() {
  setStopping(false);
}

/** @param {boolean} is */
function setStopping(is) {
  if (!view.followed) return;
  view.followed.stopping = is;
  phase.value = phaseOf(view.followed);
}

/** @param {Followed} followed @returns {import("./store.mjs").Phase} */
function phaseOf({ connected, stopping, newest }) {
  if (stopping) return "stopping";
  if (!connected) return "reconnecting";
  if (!newest?.message) return "sending";
  return isWaiting(newest) || isAsking(newest) ? "asking" : "streaming";
}

/** Returns true if a stop was requested. */
export const isStopping = () => view.followed?.stopping ?? false;

/** Returns a function that draws new state, at most once per animation frame. @param {Followed} followed */
function createDrawer(followed) {
  let due = false;
  const draw = () => {
    due = false;
    const now = followed.newest;
    if (!now || view.followed !== followed) return;
    batch(() => {
      live.value = now.message;
      toolStatus.value = now.tools;
      phase.value = phaseOf(followed);
    });
  };
  return (/** @type {Live} */ now) => {
    followed.newest = now;
    if (due) return;
    due = true;
    // Hidden pages have no animation frames.
    if (document.hidden) setTimeout(draw, 250);
    else requestAnimationFrame(draw);
  };
}

/** Returns true if the user is asked about a call. @param {Live} now */
const isAsking = (now) =>
  now.message?.parts.some((part) => part.type === "data-approval" && part.data.state === "requested") ?? false;

/**
 * Moves the message of an ended run into the messages, at the same place and with the same key.
 *
 * @param {Live} now
 */
export function settle(now) {
  batch(() => {
    const { message } = now;
    if (message && current.value) {
      const { before, now: whole } = withAnswer(current.value.messages, message);
      current.value = { ...current.value, messages: [...before, whole] };
    }
    live.value = null;
    run.value = null;
    toolStatus.value = {};
    phase.value = "idle";
  });
}
