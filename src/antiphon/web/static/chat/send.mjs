/**
 * Delivery of messages to the server, each exactly once.
 *
 * A message waits in `pending` until its run has started. It has an idempotency key, so it is sent again
 * whenever its arrival is uncertain.
 *
 * @module
 */

import { fetchOk, post, jsonInit } from "./api.mjs";
import { newId } from "./ids.mjs";
import {
  attachToRun,
  followRun,
  isFollowing,
  isStopping,
  unmarkStopping,
  refresh,
  settle,
  wake,
} from "./conversation.mjs";
import { foldEvents, NOTHING, textOf } from "./reduce.mjs";
import { ADOPTED_AFTER_MS, asMessage, bodyOf, forgetEntry, isOutbox, storeEntry, storedEntries } from "./outbox.mjs";
import { navigate } from "./router.mjs";
import { showServersWhile } from "./servers.mjs";
import { eventReader } from "./sse.mjs";
import {
  beginsTemporary,
  begunHere,
  current,
  isTemporaryHere,
  me,
  opening,
  path,
  pending,
  phase,
  prefs,
  refill,
  run,
  signedOut,
  beginsInFolder,
  threadOptions,
  threadSystem,
} from "./store.mjs";
import { notifyTabs } from "./tabs.mjs";
import { awaitTitle, loadThreads } from "./threads.mjs";
import { runAndReport } from "./ui/toasts.mjs";
import { batch } from "./vendor/ui.mjs";

/** @typedef {import("./outbox.mjs").Entry} Entry */

const PROCESS = "/api/messages/process?sdk=5";
const CHAT = "antiphon.chat";
const NEW_CHAT = "/";
const TITLE_CHARACTERS = 60;

/** Returns the id of the user, who owns drafts and messages. */
export const personId = () => me.value?.person?.id ?? "local";

/** Starts a new chat with an id of its own. */
export const beginChat = () => sessionStorage.setItem(CHAT, newId());

/** Returns true if an entry belongs to the open thread or chat. @param {Entry} entry */
export const isHere = (entry) =>
  entry.thread === null
    ? path.value === NEW_CHAT && entry.chat === sessionStorage.getItem(CHAT)
    : entry.thread === current.value?.thread.id;

/** Returns the open thread's title; before the server has one, it is taken from the first message. */
export function currentTitle() {
  const open = current.value;
  if (!open) return "";
  const first = open.messages.find(({ role }) => role === "user") ?? pending.value.filter(isHere).map(asMessage)[0];
  return open.thread.title || titleFrom(first ? textOf(first) : "");
}

/** @param {string} text */
const titleFrom = (text) => text.trim().slice(0, TITLE_CHARACTERS);

/** Loads messages that an earlier page left unsent, and follows other tabs' storage. */
export function restorePending() {
  pending.value = storedEntries(personId());
  window.addEventListener("storage", ({ key }) => {
    if (!isOutbox(personId(), key)) return;
    const mine = new Map(pending.value.map((entry) => [entry.id, entry]));
    const unstored = pending.value.filter(({ temporary }) => temporary);
    pending.value = [...storedEntries(personId()).map((entry) => mine.get(entry.id) ?? entry), ...unstored];
  });
}

/**
 * Sends a message, after what is before it in the queue.
 *
 * @param {{text: string, files?: Entry["files"], thread?: string | null}} written
 */
export function send({ text, files = [], thread = current.value?.thread.id ?? null }) {
  if (!sessionStorage.getItem(CHAT)) beginChat();
  const entry = /** @type {Entry} */ ({
    id: newId(),
    thread,
    text,
    files: files.map(({ id, name, type, size }) => ({ id, name, type, size })),
    options: chosenOptions(),
    state: "queued",
    fault: null,
    chat: sessionStorage.getItem(CHAT),
    at: Date.now(),
    temporary: isTemporaryHere(),
    ...(thread === null && { threadOptions: threadOptions.value, folder: beginsInFolder.value }),
  });
  storeEntry(personId(), entry);
  pending.value = [...pending.value, entry];
  void deliver();
}

/** Returns the user's choices for the next answer. */
function chosenOptions() {
  const { model, assistant } = prefs.value;
  const options = { model, assistant_id: assistant, system: threadSystem.value };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined));
}

/** Sends the next message of the thread that is open, unless a run is busy there. */
export async function deliver() {
  if (isFollowing() || opening.value !== null || signedOut.value) return;
  const entry = pending.value.find((each) => isHere(each) && each.state !== "failed");
  if (!entry) return;
  change(entry.id, { state: "sending", fault: null });
  phase.value = "sending";
  try {
    const end = await followRun(
      (known, signal) =>
        known.message
          ? attachToRun(known.message.id, known, signal)
          : showServersWhile(() => fetchOk(PROCESS, { ...jsonInit("POST", bodyOf(entry)), signal })).catch((error) => retryLater(entry, error)),
      ({ message }) => message && markAccepted(entry, message),
    );
    if (end) await finishRun(end);
  } catch (/** @type {any} */ error) {
    await markRefused(entry, error);
  }
}

/** Goes on with the last answer of the open thread, which was cut. */
export async function continueAnswer() {
  const thread = current.value?.thread.id;
  if (!thread || isFollowing()) return;
  const body = { continues: true, thread_id: thread, message_id: newId(), ...chosenOptions() };
  phase.value = "sending";
  await runAndReport(async () => {
    try {
      const end = await followRun((known, signal) =>
        known.message
          ? attachToRun(known.message.id, known, signal)
          : showServersWhile(() => fetchOk(PROCESS, { ...jsonInit("POST", body), signal })),
      );
      if (end) await finishRun(end);
    } catch (error) {
      phase.value = "idle";
      throw error;
    }
  });
}

/** Shows why a message has to wait; it is retried automatically. @param {Entry} entry @param {any} error @returns {never} */
function retryLater(entry, error) {
  if (error.name === "Problem" && error.status && !error.fatal) change(entry.id, { fault: error.message });
  throw error;
}

/** Follows a run that was started elsewhere, or by this page before a reload. @param {string} id */
export async function followOtherRun(id) {
  if (isFollowing()) return;
  phase.value = "streaming";
  run.value = { id, status: "in_progress" };
  try {
    const end = await followRun((known, signal) => attachToRun(id, known, signal));
    if (end) await finishRun(end);
  } catch (/** @type {any} */ error) {
    if (error.name !== "Problem") throw error;
    // Its stream is no longer kept, or it never was ours: the history has what there is.
    settle(NOTHING);
    await refresh();
  }
}

/** @param {import("./reduce.mjs").Live} end */
async function finishRun(end) {
  settle(end);
  if (current.value) notifyTabs({ thread: current.value.thread.id });
  await Promise.all([refresh(), loadThreads()]);
  const thread = current.value?.thread;
  if (thread?.title_from === "message" || thread?.title_from === "model") void awaitTitle(thread.id);
  await deliver();
}

/**
 * The server has the message, and its run has begun.
 *
 * @param {Entry} entry @param {import("./reduce.mjs").Message} message
 */
function markAccepted(entry, message) {
  const { threadId } = message.metadata;
  if (isLeaving) setTimeout(() => forget(entry.id), LEFT_MS);
  else forget(entry.id);
  batch(() => {
    if (entry.thread === null) moveDraft(entry, threadId);
    if (current.value && !isShown(entry, message.id)) {
      const said = { ...asMessage(entry), key: entry.id };
      current.value = { ...current.value, messages: [...current.value.messages, said] };
    }
  });
  notifyTabs({ thread: threadId });
  void loadThreads();
  if (isStopping()) void stopRun(message.id);
}

/**
 * Time for which the page may be unloading. Responses in that time are left to the next page, which
 * sends the message again under the same id.
 */
let isLeaving = false;
const LEFT_MS = 5000;
addEventListener("beforeunload", () => {
  isLeaving = true;
  setTimeout(() => (isLeaving = false), LEFT_MS); // it was a download, and nobody left
});

/** Moves the draft of a new chat to its thread. @param {Entry} entry @param {string} thread */
function moveDraft(entry, thread) {
  const title = titleFrom(entry.text);
  current.value = {
    thread: { id: thread, title, temporary: entry.temporary, options: entry.threadOptions, folder_id: entry.folder },
    messages: [],
    branches: [],
    system: threadSystem.value,
    hasEarlier: false,
  };
  for (const { id, chat, thread: known } of pending.value) {
    if (known === null && chat === entry.chat) change(id, { thread });
  }
  begunHere.value = thread;
  beginsTemporary.value = false;
  beginsInFolder.value = null;
  beginChat();
  navigate(`/t/${thread}`, { replace: true });
}

/** Returns true if the history has the message already. @param {Entry} entry @param {string} runId */
function isShown(entry, runId) {
  const messages = current.value?.messages ?? [];
  return messages.some(({ id }) => id === runId) || (entry.restored === true && messages.at(-1)?.role === "user");
}

/** @param {Entry} entry @param {any} error */
async function markRefused(entry, error) {
  if (error.name !== "Problem") throw error;
  phase.value = "idle";
  if (error.code === "run_active") {
    change(entry.id, { state: "queued", restored: false });
    const answer = await refresh();
    if (answer?.active_run) await followOtherRun(answer.active_run.id);
    return;
  }
  const waits = error.status === 401;
  change(entry.id, { state: waits ? "queued" : "failed", fault: waits ? null : error.message });
}

/** Sends messages of other threads whose runs have ended. */
export async function deliverElsewhere() {
  const orphaned = (/** @type {Entry} */ entry) =>
    entry.thread !== null || entry.chat === sessionStorage.getItem(CHAT) || Date.now() - entry.at > ADOPTED_AFTER_MS;
  for (const entry of pending.value.filter((each) => each.state !== "failed" && !isHere(each) && orphaned(each))) {
    await sendUntilStarted(entry);
  }
}

/** Sends an entry and reads until its run has started. @param {Entry} entry */
async function sendUntilStarted(entry) {
  try {
    const response = await fetchOk(PROCESS, jsonInit("POST", bodyOf(entry)));
    const message = await firstMessage(response);
    if (!message) return;
    forget(entry.id);
    void loadThreads();
  } catch (/** @type {any} */ error) {
    if (error.name !== "Problem") throw error;
    if (error.fatal && error.code !== "run_active" && error.status !== 401) {
      change(entry.id, { state: "failed", fault: error.message });
    }
  }
}

/** @param {Response} response */
async function firstMessage(response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const read = eventReader();
  let now = NOTHING;
  while (reader && !now.message) {
    const { done, value } = await reader.read();
    if (done) break;
    now = foldEvents(now, read(value));
  }
  await reader?.cancel();
  return now.message;
}

/** Moves an unsent message back into the composer. @param {string} id */
export function queueEdit(id) {
  const entry = pending.value.find((each) => each.id === id);
  if (!entry || entry.state === "sending") return;
  queueRemove(id);
  refill.value = { text: entry.text, files: entry.files };
}

/** @param {string} id */
export function queueRemove(id) {
  const entry = pending.value.find((each) => each.id === id);
  if (entry && entry.state !== "sending") forget(id);
}

/** Sends a message again that was refused. @param {string} id */
export function retryPending(id) {
  change(id, { state: "queued", fault: null });
  void deliver();
}

/** Forgets the unsent messages of a temporary chat that ends. */
export function forgetTemporary() {
  pending.value = pending.value.filter(({ temporary }) => !temporary);
}

/** Requests to stop the run; it has stopped when its stream says so. */
export async function stopRun(/** @type {string} */ id) {
  const done = await runAndReport(async () => {
    const { status } = await post(`/api/runs/${id}/stop`);
    if (run.value?.id === id) run.value = { id, status };
    wake();
    return true;
  });
  if (!done) unmarkStopping();
}

/** @param {string} id @param {Partial<Entry>} news */
function change(id, news) {
  pending.value = pending.value.map((entry) => {
    if (entry.id !== id) return entry;
    const changed = { ...entry, ...news };
    storeEntry(personId(), changed);
    return changed;
  });
}

/** @param {string} id */
function forget(id) {
  forgetEntry(personId(), id);
  pending.value = pending.value.filter((entry) => entry.id !== id);
}
