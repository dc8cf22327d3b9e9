/**
 * Delivery of messages to the server, each exactly once.
 *
 * A message waits in `pending` until its run has started. It has an idempotency key, so it is sent again
 * whenever its arrival is uncertain.
 *
 * @module
 */

import { get, post, postForStream } from "./api.mjs";
import { newId } from "./ids.mjs";
import {
  attachToRun,
  followRun,
  isFollowing,
  isStopping,
  PAGE,
  unmarkStopping,
  refresh,
  settle,
  wake,
} from "./conversation.mjs";
import { foldEvents, NOTHING, textOf } from "./reduce.mjs";
import { ADOPTED_AFTER_MS, asMessage, bodyOf, withModelsExchanged, forgetEntry, isLast, isOutbox, storeEntry, storedEntries } from "./outbox.mjs";
import { besideOf, navigate, threadOf } from "./router.mjs";
import { showServersWhile } from "./servers.mjs";
import { eventReader } from "./sse.mjs";
import {
  beginsTemporary,
  begunHere,
  BESIDE,
  compareWith,
  current,
  isTemporaryHere,
  MAIN,
  me,
  path,
  pending,
  prefs,
  refill,
  signedOut,
  beginsInFolder,
  threadOptions,
  threadSystem,
} from "./store.mjs";
import { notifyTabs } from "./tabs.mjs";
import { awaitTitle, loadThreads } from "./threads.mjs";
import { runAndReport, toast } from "./ui/toasts.mjs";
import { batch } from "./vendor/ui.mjs";

/** @typedef {import("./outbox.mjs").Entry} Entry */
/** @typedef {import("./store.mjs").Pane} Pane */

const PROCESS = "/api/messages/process?sdk=5";
const CHAT = "antiphon.chat";
const NEW_CHAT = "/";
const TITLE_CHARACTERS = 60;

/** Returns the id of the user, who owns drafts and messages. */
export const personId = () => me.value?.person?.id ?? "local";

/** Starts a new chat with an id of its own. */
export const beginChat = () => sessionStorage.setItem(CHAT, newId());

/** Returns true if an entry belongs to the open thread or chat. @param {Entry} entry @param {Pane} [at] */
export const isHere = (entry, at = MAIN) =>
  entry.thread === null
    ? at === MAIN && path.value === NEW_CHAT && entry.chat === sessionStorage.getItem(CHAT)
    : entry.thread === at.current.value?.thread.id;

/** Returns the open thread's title; before the server has one, it is taken from the first message. */
export function currentTitle() {
  const open = current.value;
  if (!open) return "";
  const first = open.messages.find(({ role }) => role === "user") ?? pending.value.filter((entry) => isHere(entry)).map(asMessage)[0];
  return open.thread.title || titleFrom(first ? textOf(first) : "");
}

/** @param {string} text */
const titleFrom = (text) => text.trim().slice(0, TITLE_CHARACTERS);

/** Ids of messages that this page alone knows: those of temporary chats, and those that the browser did not store. */
const unstored = new Set();

/** Loads messages that an earlier page left unsent, and follows other tabs' storage. */
export function restorePending() {
  readPending();
  window.addEventListener("storage", followStorage); // once, however often it is added
}

/** @param {StorageEvent} event */
function followStorage({ key }) {
  if (isOutbox(personId(), key)) readPending();
}

/** Reads the stored messages; those that are not stored stay. */
function readPending() {
  const mine = new Map(pending.value.map((entry) => [entry.id, entry]));
  const others = pending.value.filter(({ id }) => unstored.has(id));
  pending.value = [...storedEntries(personId()).filter(({ id }) => !unstored.has(id)).map((entry) => mine.get(entry.id) ?? entry), ...others];
}

/** @param {Entry} entry */
function store(entry) {
  if (storeEntry(personId(), entry)) unstored.delete(entry.id);
  else unstored.add(entry.id);
}

/**
 * Sends a message to the thread of the address, after what is before it in the queue. Beside each other, both
 * models get it.
 *
 * @param {{text: string, files?: Entry["files"]}} written
 */
export function send(written) {
  if (besideOf(path.value)) {
    const asked = newId();
    for (const { current: { value: open } } of [MAIN, BESIDE]) {
      if (open) sendTo(open.thread.id, written, { options: chosenOptions(open.model), asked });
    }
  } else {
    const second = compareWith.value;
    compareWith.value = null;
    sendTo(threadOf(path.value), written, second ? { beside: { id: newId(), options: chosenOptions(second) } } : {});
  }
}

/** @param {string | null} thread @param {{text: string, files?: Entry["files"]}} written @param {Partial<Entry>} [more] */
export function sendTo(thread, { text, files = [] }, more) {
  if (!sessionStorage.getItem(CHAT)) beginChat();
  queue(/** @type {Entry} */ ({
    id: newId(),
    thread,
    text,
    files,
    options: chosenOptions(),
    state: "queued",
    fault: null,
    chat: sessionStorage.getItem(CHAT),
    at: Date.now(),
    temporary: isTemporaryHere(),
    ...(thread === null && { threadOptions: threadOptions.value, folder: beginsInFolder.value }),
    ...more,
  }));
  void deliver();
  void deliver(BESIDE);
}

/** @param {Entry} entry */
function queue(entry) {
  store(entry);
  pending.value = [...pending.value, entry];
}

/** Returns the user's choices for the next answer. @param {string | null} [model] */
export function chosenOptions(model = prefs.value.model) {
  const { assistant } = prefs.value;
  const options = { model, assistant_id: assistant, system: threadSystem.value };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined));
}

/** Sends the next message of the thread that is open, unless a run is busy there. */
export async function deliver(at = MAIN) {
  if (isFollowing(at) || at.opening.value !== null || signedOut.value) return;
  const entry = pending.value.find((each) => isHere(each, at) && each.state !== "failed");
  if (!entry) return;
  change(entry.id, { state: "sending", fault: null });
  at.phase.value = "sending";
  try {
    const end = await followRun(
      (known, signal) =>
        known.message
          ? attachToRun(known.message.id, known, signal)
          : showServersWhile(() => postForStream(PROCESS, bodyOf(entry), signal)).catch((error) => retryLater(entry, error)),
      at,
      ({ message }) => message && markAccepted(entry, message, at),
    );
    if (end) await finishRun(end, at);
    else change(entry.id, { mayHaveArrived: true });
  } catch (/** @type {any} */ error) {
    await markRefused(entry, error, at);
  }
}

/** Goes on with the last answer of an open thread, which was cut; in a comparison by the model that gave it. */
export async function continueAnswer(at = MAIN) {
  const open = at.current.value;
  if (!open || isFollowing(at)) return;
  const options = besideOf(path.value) ? chosenOptions(open.model) : chosenOptions();
  const body = { continues: true, thread_id: open.thread.id, message_id: newId(), ...options };
  at.phase.value = "sending";
  await runAndReport(async () => {
    try {
      const end = await followRun(
        (known, signal) =>
          known.message
            ? attachToRun(known.message.id, known, signal)
            : showServersWhile(() => postForStream(PROCESS, body, signal)),
        at,
      );
      if (end) await finishRun(end, at);
    } catch (error) {
      at.phase.value = "idle";
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
export async function followOtherRun(id, at = MAIN) {
  if (isFollowing(at)) return;
  at.phase.value = "streaming";
  at.run.value = { id, status: "in_progress" };
  try {
    const end = await followRun((known, signal) => attachToRun(id, known, signal), at);
    if (end) await finishRun(end, at);
  } catch (/** @type {any} */ error) {
    if (error.name !== "Problem") throw error;
    // Its stream is no longer kept, or it is not the web chat's: the history has its messages.
    settle(NOTHING, at);
    await refresh(at);
  }
}

/** @param {import("./reduce.mjs").Live} end @param {Pane} at */
async function finishRun(end, at) {
  settle(end, at);
  if (at.current.value) notifyTabs({ thread: at.current.value.thread.id });
  await Promise.all([refresh(at), loadThreads()]);
  const thread = at.current.value?.thread;
  if (thread?.title_from === "message" || thread?.title_from === "model") void awaitTitle(thread.id);
  await deliver(at);
}

/**
 * Removes an entry from the outbox: the server has the message, and its run has begun.
 *
 * @param {Entry} entry @param {import("./reduce.mjs").Message} message @param {Pane} at
 */
function markAccepted(entry, message, at) {
  const { threadId } = message.metadata;
  if (isLeaving) setTimeout(() => forget(entry.id), LEFT_MS);
  else forget(entry.id);
  batch(() => {
    if (entry.thread === null) moveDraft(entry, threadId);
    const open = at.current.value;
    if (open && !isShown(entry, message.id, open)) {
      const said = { ...asMessage(entry), key: entry.id };
      at.current.value = { ...open, messages: [...open.messages, said], model: entry.options.model ?? open.model };
    }
    askBeside(entry, threadId);
  });
  notifyTabs({ thread: threadId });
  void loadThreads();
  if (isStopping(at)) void stopRun(message.id, at);
}

/** Asks the second model in a branch, once the thread has the question. @param {Entry} entry @param {string} branchOf */
function askBeside({ beside, ...entry }, branchOf) {
  if (!beside || pending.value.some(({ id }) => id === beside.id)) return;
  queue({ ...entry, ...beside, thread: "", branchOf, state: "queued", fault: null });
  void deliverElsewhere();
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
    lineage: [[thread, 0]],
    system: threadSystem.value,
    hasEarlier: false,
    model: entry.options.model ?? null,
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

/** Returns true if the history has the message already. @param {Entry} entry @param {string} runId @param {import("./store.mjs").Current} open */
function isShown(entry, runId, { messages }) {
  return messages.some(({ id }) => id === runId) || isLast(entry, messages);
}

/** @param {Entry} entry @param {any} error @param {Pane} at */
async function markRefused(entry, error, at) {
  if (error.name !== "Problem") throw error;
  at.phase.value = "idle";
  if (error.code === "run_active") {
    change(entry.id, { state: "queued", mayHaveArrived: false });
    const answer = await refresh(at);
    if (answer?.active_run) await followOtherRun(answer.active_run.id, at);
    return;
  }
  if (error.status === 401) change(entry.id, { state: "queued", fault: null });
  else refuse(entry.id, error.message);
}

/** Marks an entry as refused. The other model of a comparison is asked all the same. @param {string} id @param {string} reason */
function refuse(id, reason) {
  const entry = pending.value.find((each) => each.id === id);
  if (!entry?.beside || entry.beside.refusal) return change(id, { state: "failed", fault: reason });
  exchangeModels(entry, reason);
  void deliver();
  void deliverElsewhere();
}

/** @param {Entry} entry @param {string} [refusal] */
function exchangeModels(entry, refusal) {
  const now = withModelsExchanged(entry, refusal);
  forgetEntry(personId(), entry.id);
  store(now);
  pending.value = pending.value.map((each) => (each.id === entry.id ? now : each));
}

/** Sends messages of other threads whose runs have ended. */
export async function deliverElsewhere() {
  const orphaned = (/** @type {Entry} */ entry) =>
    entry.thread !== null || entry.chat === sessionStorage.getItem(CHAT) || Date.now() - entry.at > ADOPTED_AFTER_MS;
  const isOpen = (/** @type {Entry} */ { thread }) => thread !== null && [threadOf(path.value), besideOf(path.value)].includes(thread);
  for (const entry of pending.value.filter((each) => each.state !== "failed" && !isHere(each) && !isOpen(each) && orphaned(each))) {
    await sendUntilStarted(entry);
  }
}

/** Sends an entry and reads until its run has started. @param {Entry} entry */
async function sendUntilStarted(entry) {
  try {
    const placed = entry.branchOf ? await placeBeside(entry, entry.branchOf) : entry;
    if (!placed || placed.refusal) return;
    change(entry.id, { mayHaveArrived: true });
    const response = await postForStream(PROCESS, bodyOf(placed));
    const message = await firstMessage(response);
    if (!message) return;
    forget(entry.id);
    askBeside(entry, message.metadata.threadId);
    void loadThreads();
  } catch (/** @type {any} */ error) {
    if (error.name !== "Problem") throw error;
    if (error.code === "run_active") change(entry.id, { mayHaveArrived: false });
    if (error.fatal && pending.value.find(({ id }) => id === entry.id)?.thread === "") {
      // No pane shows it: there is no branch.
      forget(entry.id);
      toast({ text: entry.refusal ?? error.message, bad: true });
    } else if (error.fatal && error.code !== "run_active" && error.status !== 401) {
      refuse(entry.id, error.message);
    }
  }
}

/**
 * Creates the branch in which a question is asked again, unless it exists. Returns the entry with
 * the branch as its thread; null if the branch is open beside its source, where `deliver` sends the entry.
 *
 * @param {Entry} entry @param {string} source
 */
async function placeBeside(entry, source) {
  const thread = entry.thread || (await createBranch(entry, source));
  const address = entry.isFirst ? `/c/${thread}/${source}` : `/c/${source}/${thread}`;
  if (path.value === `/t/${source}`) navigate(address, { replace: true, sure: true });
  return besideOf(path.value) === thread ? null : { ...entry, thread };
}

/** @param {Entry} entry @param {string} source */
async function createBranch(entry, source) {
  const { messages } = await get(`/api/threads/${source}/messages`, { query: { limit: PAGE } });
  const asked = messages.filter((/** @type {import("./reduce.mjs").Message} */ { role }) => role === "user").reverse();
  const question = asked.find((/** @type {import("./reduce.mjs").Message} */ each) => textOf(each) === entry.text) ?? asked[0];
  const { id } = await post(`/api/threads/${source}/branch`, { message_id: question.id, repeat: true, beside: true, key: entry.id });
  change(entry.id, { thread: id, ...(entry.refusal && { state: "failed", fault: entry.refusal }) });
  return id;
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
  if (entry.beside) compareWith.value = (entry.beside.isFirst ? entry : entry.beside).options.model;
  refill.value = { text: entry.text, files: entry.files };
}

/** Removes an unsent message, for both models if it was for both. @param {string} id */
export function queueRemove(id) {
  const asked = pending.value.find((each) => each.id === id)?.asked ?? id;
  for (const each of pending.value) {
    if ((each.asked ?? each.id) === asked && each.state !== "sending") forget(each.id);
  }
}

/** Sends a message again that was refused, to both models if both were asked. @param {string} id */
export function retryPending(id) {
  const entry = pending.value.find((each) => each.id === id);
  if (entry?.beside?.refusal) exchangeModels(entry);
  else change(id, { state: "queued", fault: null, refusal: undefined });
  void deliver();
  void deliver(BESIDE);
}

/** Forgets the unsent messages of a temporary chat that ends. */
export function forgetTemporary() {
  pending.value = pending.value.filter(({ temporary }) => !temporary);
}

/** Requests to stop the run; it has stopped when its stream says so. */
export async function stopRun(/** @type {string} */ id, at = MAIN) {
  const done = await runAndReport(async () => {
    const { status } = await post(`/api/runs/${id}/stop`);
    if (at.run.value?.id === id) at.run.value = { id, status };
    wake(at);
    return true;
  });
  if (!done) unmarkStopping(at);
}

/** @param {string} id @param {Partial<Entry>} news */
function change(id, news) {
  pending.value = pending.value.map((entry) => {
    if (entry.id !== id) return entry;
    const changed = { ...entry, ...news };
    store(changed);
    return changed;
  });
}

/** @param {string} id */
function forget(id) {
  forgetEntry(personId(), id);
  unstored.delete(id);
  pending.value = pending.value.filter((entry) => entry.id !== id);
}
