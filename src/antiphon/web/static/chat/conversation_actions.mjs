/**
 * Actions of the user in the conversation.
 *
 * @module
 */

import { get, ping, post } from "./api.mjs";
import { closePane, closeThread, isFollowing, isStopping, loadEarlier, loadThread, loadUpTo, refresh, markStopping, wake } from "./conversation.mjs";
import { besideOf, navigate, threadOf } from "./router.mjs";
import {
  beginChat,
  continueAnswer,
  deliver,
  deliverElsewhere,
  queueEdit,
  queueRemove,
  restorePending,
  retryPending,
  send,
  stopRun,
  followOtherRun,
} from "./send.mjs";
import { refreshServers } from "./servers.mjs";
import { writeStored } from "./storage.mjs";
import { away, BESIDE, current, draftOwner, editing, lost, MAIN, me, opening, path, PERSON, problem, run, signedOut, threads } from "./store.mjs";
import { onTabNews } from "./tabs.mjs";
import { loadThreads } from "./threads.mjs";
import { runAndReport } from "./ui/toasts.mjs";

export { continueAnswer, loadEarlier, loadUpTo, queueEdit, queueRemove, retryPending, send };

/** @typedef {import("./store.mjs").Pane} Pane */

/** The open conversation, and the one beside it. */
const PANES = [MAIN, BESIDE];

/** Interval at which a visible page asks for runs that it does not know of. */
const BEAT_MS = 8_000;

/** Interval of pings. With the timeout of `ping` a silent server is reported within 5 s. */
const PING_EVERY_MS = 2_500;

/** Loads the current user, and continues where an earlier page stopped. For another user the page reloads. */
export async function start() {
  const found = await get("/api/me");
  if (me.value && found.person?.id !== me.value.person?.id) {
    PANES.forEach((at) => closePane(at)); // a temporary chat would have the browser ask
    location.reload();
    return;
  }
  me.value = found;
  writeStored(PERSON, draftOwner.value);
  signedOut.value = false;
  problem.value = null;
  restorePending();
  // Not awaited: a run that goes on there would hold up the page.
  void openPath(path.value);
}

/** Starts to check for news from elsewhere while the page is visible. @returns {void} */
export function watchForNews() {
  const awake = () => {
    PANES.forEach((at) => wake(at));
    void checkForNews();
  };
  window.addEventListener("online", awake);
  window.addEventListener("focus", awake);
  window.addEventListener("pageshow", awake);
  document.addEventListener("visibilitychange", () => document.hidden || awake());
  onTabNews(({ thread }) => {
    if (PANES.some((at) => thread === at.current.value?.thread.id)) void checkForNews();
    void loadThreads();
  });
  setInterval(() => void checkForNews(), BEAT_MS);
  setInterval(() => document.hidden || void ping(), PING_EVERY_MS);
}

/** Follows runs that were started in another tab, in the terminal or by another program. */
export async function checkForNews() {
  if (document.hidden || signedOut.value || !me.value) return;
  if (me.value.servers.some((/** @type {{status: string}} */ { status }) => !SETTLED.has(status))) void refreshServers();
  if (threads.value.data.some(({ running }) => running)) void loadThreads();
  await deliverElsewhere();
  await Promise.all(PANES.map(checkPane));
}

/** @param {Pane} at */
async function checkPane(at) {
  if (at.opening.value !== null) {
    // Its messages could not be read, and now they may be.
    if (at.problem.value?.fatal === false && !away.value) await loadAt(at.opening.value, at);
    return;
  }
  const open = at.current.value;
  if (!open || isFollowing(at)) return;
  const news = await newest(open.thread.id);
  if (!news || at.current.value?.thread.id !== open.thread.id || isFollowing(at)) return;
  const known = at.current.value.messages.some(({ id }) => id === news.messages.at(-1)?.id);
  if (!known || news.active_run || at.problem.value) await refresh(at);
  if (news.active_run) await followOtherRun(news.active_run.id, at);
  else await deliver(at);
}

/** Statuses of MCP servers that do not change by themselves. */
const SETTLED = new Set(["ready", "disabled", "closed"]);

/** Returns the newest message of a thread, null if it cannot be loaded. @param {string} id */
async function newest(id) {
  try {
    return await get(`/api/threads/${id}/messages`, { query: { limit: 1 } });
  } catch (/** @type {any} */ error) {
    if (error.name === "Problem") return null;
    throw error;
  }
}

/** Shows the conversation that an address names. @param {string} address */
export async function openPath(address) {
  const thread = threadOf(address);
  const other = besideOf(address);
  if (!other && (BESIDE.current.value ?? BESIDE.opening.value ?? BESIDE.lost.value)) leaveBeside();
  if (thread) return Promise.all([openThread(thread), other && openAt(other, BESIDE)]);
  if (address === "/") newThread();
  return undefined;
}

/** @param {string} id @param {{sure?: boolean}} [how]  as for `navigate` */
export async function openThread(id, how) {
  if (opening.value === id || (opening.value === null && current.value?.thread.id === id)) return;
  editing.value = null;
  if (threadOf(path.value) !== id) navigate(`/t/${id}`, how);
  await openAt(id, MAIN);
}

/** Loads a thread, and goes on with what happens there. @param {string} id @param {Pane} at */
async function openAt(id, at) {
  if (at.opening.value === id || (at.opening.value === null && at.current.value?.thread.id === id)) return;
  await loadAt(id, at);
}

/** Opens a thread in this pane, by whatever way: what happens on opening belongs here. @param {string} id @param {Pane} at */
async function loadAt(id, at) {
  const answer = await loadThread(id, at);
  if (!answer) return;
  void deliverElsewhere();
  const ours = deliver(at);
  if (!isFollowing(at) && answer.active_run) await followOtherRun(answer.active_run.id, at);
  await ours;
}

/** Shows one conversation again, with its versions. */
function leaveBeside() {
  closePane(BESIDE);
  void refresh();
}

/** Opens an empty chat; the draft of the previous one stays there. */
export function newThread() {
  // Its view calls this again, unless the user stays in a temporary chat.
  if (path.value !== "/") return navigate("/");
  editing.value = null;
  const wasHere = current.value !== null;
  // What was chosen for a new chat stays with it, also from before the user was known.
  if (wasHere || (opening.value ?? lost.value) !== null) closeThread();
  if (wasHere) beginChat();
  void deliverElsewhere();
  void deliver();
  return undefined;
}

/** Ends the runs that are followed, and all that works for them. */
export const stop = () => PANES.forEach((at) => void stopAt(at));

/** @param {Pane} at */
export async function stopAt(at) {
  if (!isFollowing(at) || isStopping(at)) return;
  markStopping(at);
  if (at.run.value) await stopRun(at.run.value.id, at);
}

/** Ends one call of the run that is followed. @param {string} callId @param {Pane} at */
export const stopTool = (callId, at) =>
  runAndReport(() => post(`/api/runs/${at.run.value?.id}/tools/${encodeURIComponent(callId)}/stop`));

/**
 * Sends the user's answer about a call. Rejects with the server's `Problem`.
 *
 * @param {Record<string, any>} data  of the `data-approval` part
 * @param {Record<string, any>} given
 * @returns {Promise<{state: string}>}
 */
export async function answer(data, given) {
  const id = data.runId ?? run.value?.id;
  try {
    return await post(`/api/runs/${id}/approvals/${encodeURIComponent(data.toolCallId)}`, {
      ...given,
      args_hash: data.argsHash,
    });
  } finally {
    PANES.forEach((at) => wake(at));
  }
}
