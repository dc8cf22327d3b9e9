/**
 * State of the page, as signals.
 *
 * `conversation_actions.mjs` and `router.mjs` write them; components read `.value`, and are rendered
 * again when it has changed. Only preferences, consents, drafts and unsent
 * messages outlive the page.
 *
 * @module
 */

import { writeStored, readStored } from "./storage.mjs";
import { computed, effect, signal } from "./vendor/ui.mjs";

/**
 * @typedef {import("./reduce.mjs").Message} Message
 * @typedef {"idle" | "sending" | "streaming" | "asking" | "reconnecting" | "stopping"} Phase
 *
 * @typedef {object} Thread
 * @property {string} id
 * @property {string} title
 * @property {number} [messages]  how many
 * @property {number | string} [created_at]
 * @property {number | string} [updated_at]
 * @property {boolean} [running]
 * @property {string | null} [replaces]
 * @property {number | null} [branch_begins]  number of its first own message, if it replaces another
 * @property {boolean} [temporary]
 * @property {string | null} [folder_id]
 * @property {import("./thread_options.mjs").ThreadOptions} [options]
 *
 * @typedef {object} Current
 * @property {Thread} thread
 * @property {Message[]} messages  in order; a message has `key` where it was shown before it had its id
 * @property {import("./forks.mjs").Fork[]} branches
 * @property {[string, number][]} lineage  the thread and those that it branches from, each with the number of its first own message
 * @property {string | null} system  instructions of the last run
 * @property {boolean} hasEarlier
 * @property {string | null} model  of the last run
 */

const PREFS = "antiphon.prefs";
const UNCHOSEN = { theme: "auto", language: "auto", model: null, assistant: null, enterSends: true, notifications: false, voice: null, voiceRate: 1, openFolders: [] };

/** The answer of `/api/me`, or null before it has come. */
export const me = signal(/** @type {Record<string, any> | null} */ (null));

/** True if the user has to log in. */
export const signedOut = signal(false);

/** True if the server did not answer the last request. */
export const away = signal(false);

/** Where the person of this browser is kept, whose drafts are shown while the server does not answer. */
export const PERSON = "antiphon.person";

/** The person whose drafts are shown; null before it is known. */
export const draftOwner = computed(() => me.value?.person?.id ?? (me.value ? "local" : away.value ? readStored(PERSON) : null));

/** The address of the view, which `navigate` changes. */
export const path = signal("/");

/** The list of threads as far as it was read, and what it shows: words, the archive, a tag. */
export const threads = signal({
  data: /** @type {Thread[]} */ ([]),
  next: /** @type {string | null} */ (null),
  query: "",
  archived: false,
  tag: "",
});

/** The folders of the user, ordered by name. */
export const folders = signal(/** @type {import("./folders.mjs").Folder[]} */ ([]));

/** Folders that are to be deleted unless it is undone, each with whether its threads go too. */
export const leavingFolders = signal(/** @type {Map<string, boolean>} */ (new Map()));

/** The threads of folders as far as they were read, by the folder's id. */
export const folderThreads = signal(/** @type {Record<string, import("./threads.mjs").Page>} */ ({}));

/** The folder of the chat that begins here. */
export const beginsInFolder = signal(/** @type {string | null} */ (null));

/** Ids of the threads for which a folder is being chosen; null while none is. */
export const moving = signal(/** @type {string[] | null} */ (null));

/** Number of times that the lists of threads were read again. */
export const listsRead = signal(0);

/** Ids of the threads that are marked in the list; null while none can be. */
export const marked = signal(/** @type {Set<string> | null} */ (null));

/** The tags of the user's threads, with counts. */
export const tagCounts = signal(/** @type {{tag: string, threads: number, archived: number}[]} */ ([]));

/** The messages that hold the words of the search. */
export const found = signal(/** @type {import("./search.mjs").Found} */ ({ query: "", data: [], indexing: null }));

/** The place that a result of the search leads to, until it is in view. */
export const foundMessage = signal(/** @type {{thread: string, number: number, words: string} | null} */ (null));

/**
 * @typedef {object} Pane  part of the page that shows a conversation
 * @property {{value: Current | null}} current  its thread, or null in a new chat
 * @property {{value: string | null}} opening  id of the thread that is being loaded
 * @property {{value: string | null}} lost  id of a thread that there is not, or not for this person
 * @property {{value: Message | null}} live  the assistant's message in progress, as it grows
 * @property {{value: {id: string, status: string} | null}} run  the run that is followed
 * @property {{value: Phase}} phase
 * @property {{value: import("./api.mjs").Problem | null}} problem  the last error that is not shown elsewhere
 * @property {{value: Readonly<Record<string, import("./reduce.mjs").ToolStatus>>}} toolStatus  of running tools by call id
 * @property {import("./conversation.mjs").Followed | null} followed
 * @property {AbortController} opened  aborted when the thread is left
 * @property {{sent: number, shown: number}} requests  numbers of the last request for its messages, and of that whose answer is shown
 */

/** @returns {Pane} */
const createPane = () => ({
  current: signal(/** @type {Current | null} */ (null)),
  opening: signal(/** @type {string | null} */ (null)),
  lost: signal(/** @type {string | null} */ (null)),
  live: signal(/** @type {Message | null} */ (null)),
  run: signal(/** @type {{id: string, status: string} | null} */ (null)),
  phase: signal(/** @type {Phase} */ ("idle")),
  problem: signal(/** @type {import("./api.mjs").Problem | null} */ (null)),
  toolStatus: signal({}),
  followed: null,
  opened: new AbortController(),
  requests: { sent: 0, shown: 0 },
});

/** The open conversation. */
export const MAIN = createPane();
const { current, opening, lost, live, run, phase, problem, toolStatus } = MAIN;
export { current, opening, lost, live, run, phase, problem, toolStatus };

/** The conversation beside it: the same question, answered by another model. */
export const BESIDE = createPane();

/** The second model that the next question goes to, if there is one. */
export const compareWith = signal(/** @type {string | null} */ (null));

/** Id of the thread that began in this page's new chat last: what was being written goes on in it. */
export const begunHere = signal(/** @type {string | null} */ (null));

/** Unaccepted messages of all threads, oldest first. */
export const pending = signal(/** @type {import("./outbox.mjs").Entry[]} */ ([]));

/** Name of the person's message that is being written anew, as `nameOf` gives it. */
export const editing = signal(/** @type {string | null} */ (null));

/**
 * Version of an answer or a question that the server refused to begin, until it is asked for again: in
 * which thread, for which question, the reason, and what to do. `isPartial` if another model was asked.
 */
export const refusedVersion = signal(/** @type {{thread: string | undefined, question: string, text: string, isPartial: boolean, again: () => unknown} | null} */ (null));

/** Words and files that go back into the composer, to be written on. */
export const refill = signal(/** @type {{text: string, files: any[]} | null} */ (null));

/** System prompt of this thread; null for the assistant's. */
export const threadSystem = signal(/** @type {string | null} */ (null));

/** Options of this thread that differ from the default. */
export const threadOptions = signal(/** @type {import("./thread_options.mjs").ThreadOptions} */ ({}));

/** True if the chat that begins here is temporary. */
export const beginsTemporary = signal(false);

/** The address for which the user is about to leave a temporary chat; null while nobody asks. */
export const leavingTo = signal(/** @type {string | null} */ (null));

/** Returns true if what is written here is not stored. */
export const isTemporaryHere = () => current.value?.thread.temporary ?? beginsTemporary.value;

/** Short news that is seen just now. */
export const toasts = signal(/** @type {any[]} */ ([]));

/** Preferences of the user in this browser. */
export const prefs = signal({ ...UNCHOSEN, ...readStored(PREFS) });

/** Stores preferences whenever they change. @returns {() => void} stops it */
export const keepPrefs = () => effect(() => writeStored(PREFS, prefs.value));

const CONSENTS = "antiphon.consents.";

/** @typedef {{sendsVoiceTo: string | null, sendsTextTo: string | null, readAnswers: boolean}} Consents */

/** @type {Consents} */
const NO_CONSENTS = { sendsVoiceTo: null, sendsTextTo: null, readAnswers: false };

/** What was agreed to since the page was loaded, by the person. */
const agreed = signal(/** @type {Record<string, Consents>} */ ({}));

/**
 * What the person agreed to in this browser: the providers that get speech and text, with their addresses, and that
 * answers are read without being asked for. Another person who logs in here has agreed to nothing.
 */
export const consents = computed(() => {
  const owner = draftOwner.value;
  if (owner === null) return NO_CONSENTS;
  return agreed.value[owner] ?? { ...NO_CONSENTS, ...readStored(CONSENTS + owner) };
});

/** Stores what the person agrees to, or no longer. @param {Partial<Consents>} news */
export function changeConsents(news) {
  const owner = draftOwner.value;
  if (owner === null) return;
  const changed = { ...consents.value, ...news };
  agreed.value = { ...agreed.value, [owner]: changed };
  writeStored(CONSENTS + owner, changed);
}
