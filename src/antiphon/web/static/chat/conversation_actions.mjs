/**
 * Actions of the user in the conversation.
 *
 * @module
 */

import { get, ping, post } from "./api.mjs";
import { closeThread, isFollowing, isStopping, loadEarlier, loadThread, loadUpTo, refresh, markStopping, wake } from "./conversation.mjs";
import { questionBefore, messageKey } from "./history.mjs";
import { textOf } from "./reduce.mjs";
import { navigate, threadOf } from "./router.mjs";
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
import { current, draftOwner, editing, me, opening, path, PERSON, problem, run, signedOut, threads } from "./store.mjs";
import { onTabNews } from "./tabs.mjs";
import { loadThreads } from "./threads.mjs";
import { runAndReport } from "./ui/toasts.mjs";

export { continueAnswer, loadEarlier, loadUpTo, queueEdit, queueRemove, retryPending, send };

/** Interval at which a visible page asks for runs that it does not know of. */
const BEAT_MS = 8_000;

/** Interval of pings. With the timeout of `ping` a silent server is reported within 5 s. */
const PING_EVERY_MS = 2_500;

/** Loads the current user, and continues where an earlier page stopped. */
export async function start() {
  me.value = await get("/api/me");
  writeStored(PERSON, draftOwner.value);
  signedOut.value = false;
  problem.value = null;
  restorePending();
  await openPath(path.value);
}

/** Starts to check for news from elsewhere while the page is visible. @returns {void} */
export function watchForNews() {
  const awake = () => {
    wake();
    void checkForNews();
  };
  window.addEventListener("online", awake);
  window.addEventListener("focus", awake);
  window.addEventListener("pageshow", awake);
  document.addEventListener("visibilitychange", () => document.hidden || awake());
  onTabNews(({ thread }) => {
    if (thread === current.value?.thread.id) void checkForNews();
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
  const open = current.value;
  if (!open || isFollowing() || opening.value !== null) return;
  const news = await newest(open.thread.id);
  if (!news || current.value?.thread.id !== open.thread.id || isFollowing()) return;
  const known = current.value.messages.some(({ id }) => id === news.messages.at(-1)?.id);
  if (!known || news.active_run) await refresh();
  if (news.active_run) await followOtherRun(news.active_run.id);
  else await deliver();
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
  if (thread) return openThread(thread);
  if (address === "/") newThread();
  return undefined;
}

/** @param {string} id @param {{sure?: boolean}} [how]  as for `navigate` */
export async function openThread(id, how) {
  if (opening.value === id || (opening.value === null && current.value?.thread.id === id)) return;
  editing.value = null;
  navigate(`/t/${id}`, how);
  const answer = await loadThread(id);
  if (!answer) return;
  void deliverElsewhere();
  const ours = deliver();
  if (!isFollowing() && answer.active_run) await followOtherRun(answer.active_run.id);
  await ours;
}

/** Opens an empty chat; the draft of the previous one stays there. */
export function newThread() {
  // Its view calls this again, unless the user stays in a temporary chat.
  if (path.value !== "/") return navigate("/");
  editing.value = null;
  const wasHere = current.value !== null;
  closeThread();
  if (wasHere) beginChat();
  void deliverElsewhere();
  void deliver();
  return undefined;
}

/** Ends the run that is followed, and all that works for it. */
export async function stop() {
  if (!isFollowing() || isStopping()) return;
  markStopping();
  if (run.value) await stopRun(run.value.id);
}

/** Ends one call of the run that is followed. @param {string} callId */
export const stopTool = (callId) =>
  runAndReport(() => post(`/api/runs/${run.value?.id}/tools/${encodeURIComponent(callId)}/stop`));

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
    wake();
  }
}

/** Requests another answer to the same message, in a branch. @param {string} messageId of either */
export async function regenerate(messageId) {
  const message = questionBefore(current.value?.messages ?? [], messageId);
  if (message) await sendInBranch(message, textOf(message), filesOf(message), true);
}

/**
 * Replaces an earlier message in a new branch; the original branch stays.
 *
 * @param {string} name  of the message @param {string} text @param {import("./outbox.mjs").Entry["files"]} [files]
 */
export async function edit(name, text, files) {
  const message = current.value?.messages.find((each) => messageKey(each) === name);
  if (message) await sendInBranch(message, text, files ?? filesOf(message));
}

/**
 * @param {import("./reduce.mjs").Message} message
 * @param {string} text @param {import("./outbox.mjs").Entry["files"]} files
 * @param {boolean} [repeat]  true if it is the same message
 */
async function sendInBranch(message, text, files, repeat = false) {
  const from = current.value?.thread.id;
  if (!from) return;
  const id = await savedId(message);
  const branch = await runAndReport(() => post(`/api/threads/${from}/branch`, { message_id: id, repeat }));
  if (!branch) return;
  editing.value = null;
  send({ text, files, thread: branch.id });
  await openThread(branch.id, { sure: true });
}

/** Returns the server's id of a message, which may be shown before it has one. @param {any} message */
async function savedId(message) {
  if (!message.key) return message.id;
  await refresh();
  const { key } = message;
  return current.value?.messages.find((each) => /** @type {any} */ (each).key === key)?.id ?? message.id;
}

/** The files of a message, to be sent again. @param {import("./reduce.mjs").Message} message */
export const filesOf = (message) =>
  message.parts
    .filter((part) => part.type === "file" && part.url.startsWith("/api/files/"))
    .map((part) => ({ id: part.url.split("/")[3].split("?")[0], name: part.filename, type: part.mediaType, size: 0 }));
