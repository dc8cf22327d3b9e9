/**
 * The open thread: its messages, and the run whose stream is read; likewise the one beside it.
 *
 * In each pane a run is followed by at most one stream. Leaving the thread ends the stream, not the run; coming back
 * shows all of it again.
 *
 * @module
 */

import { fetchOk, get } from "./api.mjs";
import { mergeMessages, withAnswer } from "./history.mjs";
import { CLOCK, follow } from "./stream.mjs";
import { isWaiting } from "./reduce.mjs";
import { beginsTemporary, current, lost, MAIN, opening, pending, threadOptions, threadSystem } from "./store.mjs";
import { loadMessageViews } from "./ui/messages.mjs";
import { batch } from "./vendor/ui.mjs";

/** Messages in a page: enough for the tallest screen, and fast to load. */
export const PAGE = 40;

/** Most messages in a page. */
const LARGEST_PAGE = 500;

/** @typedef {import("./reduce.mjs").Live} Live */
/** @typedef {import("./store.mjs").Pane} Pane */

/**
 * @typedef {object} Followed  the stream that is read now
 * @property {AbortController} leaving
 * @property {() => void} wake
 * @property {boolean} connected
 * @property {boolean} stopping
 * @property {Live | null} newest  what has come, shown or not yet
 */

/** Returns true if a stream is being read. */
export const isFollowing = (at = MAIN) => at.followed !== null;

/** Reconnects at once: the network is back, the page is visible again, or a question was answered. */
export const wake = (at = MAIN) => at.followed?.wake();

/** Leaves the thread; its run goes on. @param {Pane} at */
function stopFollowing(at) {
  at.opened.abort();
  at.opened = new AbortController();
  at.followed?.leaving.abort();
  at.followed = null;
  batch(() => {
    clearRun(at);
    at.problem.value = null;
  });
}

/** Shows that no run goes on. @param {Pane} at */
function clearRun(at) {
  at.live.value = null;
  at.run.value = null;
  at.toolStatus.value = {};
  at.phase.value = "idle";
}

/** Shows no thread. */
export function closePane(at = MAIN) {
  batch(() => {
    stopFollowing(at);
    at.current.value = null;
    at.opening.value = null;
    at.lost.value = null;
  });
}

/** Shows an empty chat. */
export function closeThread() {
  batch(() => {
    closePane();
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
export async function loadThread(id, at = MAIN) {
  // A note that it could not be read stays, and is not announced again, until it can be read.
  const trouble = at.opening.value === id ? at.problem.value : null;
  batch(() => {
    stopFollowing(at);
    at.problem.value = trouble;
    at.opening.value = id;
    at.lost.value = null;
  });
  const { signal } = at.opened;
  if (at === MAIN) beginsTemporary.value = false;
  const limit = at === MAIN ? PAGE : LARGEST_PAGE; // beside, nothing earlier is loaded
  const [answer] = await Promise.all([messagesOf(id, { limit }, at), loadMessageViews()]);
  if (!answer || signal.aborted) return null;
  batch(() => {
    at.opening.value = null;
    show(answer, at);
  });
  return answer;
}

/**
 * Reloads the newest messages and merges them with what is shown by then. An answer that is older than the last one
 * is returned, and not shown.
 *
 * @returns {Promise<Record<string, any> | null>}
 */
export async function refresh(at = MAIN) {
  const { signal } = at.opened;
  const asked = at.current.value;
  if (!asked) return null;
  const number = ++at.requests.sent;
  const answer = await messagesOf(asked.thread.id, { limit: PAGE }, at);
  const shown = at.current.value;
  if (!answer || signal.aborted || shown?.thread.id !== asked.thread.id) return null;
  if (number < at.requests.shown) return answer;
  at.requests.shown = number;
  const { kept, whole } = mergeMessages(shown.messages, answer.messages, asked.messages);
  const thread = shown.thread === asked.thread ? answer.thread : shown.thread; // it was changed here since
  show({ ...answer, thread, messages: kept, has_earlier: whole ? answer.has_earlier : shown.hasEarlier }, at);
  return answer;
}

/** Loads the page of messages before the first one shown, or so many. */
export async function loadEarlier(limit = PAGE) {
  const { signal } = MAIN.opened;
  const shown = current.value;
  const first = shown?.messages[0]?.metadata.number;
  if (!shown?.hasEarlier || first === undefined) return;
  const answer = await messagesOf(shown.thread.id, { limit, before: first }, MAIN);
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

/** @param {string} id @param {Record<string, any>} query @param {Pane} at @returns {Promise<Record<string, any> | null>} */
async function messagesOf(id, query, at) {
  const { signal } = at.opened;
  try {
    const answer = await get(`/api/threads/${id}/messages`, { query, signal });
    if (at.problem.value) at.problem.value = null;
    return answer;
  } catch (/** @type {any} */ error) {
    if (signal.aborted) return null;
    if (error.status === 404) return notFound(id, at);
    if (error.name !== "Problem") throw error;
    at.problem.value = error;
    return null;
  }
}

/** @param {string} id @param {Pane} at */
function notFound(id, at) {
  batch(() => {
    at.lost.value = id;
    at.opening.value = null;
  });
  return null;
}

/** @param {Record<string, any>} answer @param {Pane} at */
function show({ thread, messages, branches, lineage, system, has_earlier, model }, at) {
  const before = at.current.value?.thread.id === thread.id ? at.current.value : null;
  const asked = pending.value.find((entry) => entry.thread === thread.id)?.options.model;
  at.current.value = { thread, messages, branches: branches ?? [], lineage: lineage ?? [[thread.id, 0]], system: system ?? null, hasEarlier: has_earlier ?? false, model: model ?? before?.model ?? asked ?? null };
  if (at !== MAIN) return;
  // Instructions that the user has changed go with the next message: until then the server has the earlier ones.
  if (!before || threadSystem.value === before.system) threadSystem.value = system ?? null;
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
 * @param {Pane} at
 * @param {(live: Live) => void} [onMessage]  called once, when the first part has come
 * @returns {Promise<Live | null>}
 */
export async function followRun(attach, at, onMessage) {
  const leaving = new AbortController();
  const followed = { leaving, wake: () => {}, connected: true, stopping: false, newest: null };
  at.followed?.leaving.abort();
  at.followed = followed;
  const draw = createDrawer(followed, at);
  let known = false;
  try {
    return await follow({
      attach,
      clock: CLOCK,
      signal: leaving.signal,
      onWake: (wakeUp) => (followed.wake = wakeUp),
      onLine: (connected) => {
        followed.connected = connected;
        at.phase.value = phaseOf(followed);
      },
      onChange: (now) => {
        if (now.message && !known) {
          known = true;
          at.run.value = { id: now.message.id, status: "in_progress" };
          onMessage?.(now);
        }
        draw(now);
      },
    });
  } catch (/** @type {any} */ error) {
    if (leaving.signal.aborted) return null;
    throw error;
  } finally {
    if (at.followed === followed) at.followed = null;
  }
}

/** Marks that a stop was requested; the stream goes on until the run has ended. */
export function markStopping(at = MAIN) {
  setStopping(true, at);
}

/** Removes that mark after a stop has failed. */
export function unmarkStopping(at = MAIN) {
  setStopping(false, at);
}

/** @param {boolean} is @param {Pane} at */
function setStopping(is, at) {
  if (!at.followed) return;
  at.followed.stopping = is;
  at.phase.value = phaseOf(at.followed);
}

/** @param {Followed} followed @returns {import("./store.mjs").Phase} */
function phaseOf({ connected, stopping, newest }) {
  if (stopping) return "stopping";
  if (!connected) return "reconnecting";
  if (!newest?.message) return "sending";
  return isWaiting(newest) || isAsking(newest) ? "asking" : "streaming";
}

/** Returns true if a stop was requested. */
export const isStopping = (at = MAIN) => at.followed?.stopping ?? false;

/** Returns a function that draws new state, at most once per animation frame. @param {Followed} followed @param {Pane} at */
function createDrawer(followed, at) {
  let due = false;
  const draw = () => {
    due = false;
    const now = followed.newest;
    if (!now || at.followed !== followed) return;
    batch(() => {
      at.live.value = now.message;
      at.toolStatus.value = now.tools;
      at.phase.value = phaseOf(followed);
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
 * @param {Live} now @param {Pane} at
 */
export function settle(now, at) {
  batch(() => {
    const { message } = now;
    const open = at.current.value;
    if (message && open) {
      const { before, now: whole } = withAnswer(open.messages, message);
      at.current.value = { ...open, messages: [...before, whole] };
    }
    clearRun(at);
  });
}
