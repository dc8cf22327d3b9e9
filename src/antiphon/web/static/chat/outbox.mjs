/**
 * Messages that were sent but not accepted yet, in local storage.
 *
 * Each has an id made by the page, which the server uses as idempotency key: a message may be sent
 * again whenever its arrival is uncertain.
 *
 * @module
 */

import { textOf } from "./reduce.mjs";
import { writeStored, readStored, storedNames } from "./storage.mjs";

const PREFIX = "antiphon.outbox.";
/** Milliseconds after which any tab may send a message that its own tab has not sent. */
export const ADOPTED_AFTER_MS = 30_000;

/**
 * @typedef {Pick<Entry, "id" | "options" | "refusal" | "isFirst">} Other  the same message for another model
 *
 * @typedef {object} Entry
 * @property {string} id  also the key under which the server takes it once
 * @property {string | null} thread  null for a new one
 * @property {string} text
 * @property {{id: string, name: string, type: string, size: number, document?: import("./documents.mjs").DocumentState}[]} files
 * @property {Record<string, any>} options  model, assistant and the like, as they were chosen
 * @property {"queued" | "sending" | "failed"} state
 * @property {string | null} fault  why it failed, for people
 * @property {string} chat  the new chat that it begins, as long as it has no thread
 * @property {number} at  milliseconds since 1970
 * @property {import("./thread_options.mjs").ThreadOptions} [threadOptions]  of the thread that it begins
 * @property {string | null} [folder]  of the thread that it begins
 * @property {boolean} temporary  of a temporary chat, and so not stored
 * @property {Other} [beside]  the same for another model, to be shown beside it
 * @property {string} [branchOf]  thread whose question this one repeats, in a branch; until that is there, `thread` is empty
 * @property {string} [refusal]  why it was refused before the other model was asked; it is not sent again by itself
 * @property {boolean} [isFirst]  true if it belongs before what it is a branch of
 * @property {string} [asked]  id that it shares with the same message of the other model
 * @property {boolean} [mayHaveArrived]  true if it was sent before, and not answered
 */

/** Returns the unsent messages, oldest first. @param {string} person @returns {Entry[]} */
export const storedEntries = (person) =>
  storedNames(`${PREFIX}${person}.`)
    .map((name) => /** @type {Entry | null} */ (readStored(name)))
    .filter((entry) => entry !== null)
    .map((entry) => ({ ...entry, mayHaveArrived: entry.state === "sending" }))
    .sort((one, other) => one.at - other.at);

/**
 * Stores an entry, unless it is of a temporary chat. Returns true if it is stored.
 *
 * @param {string} person @param {Entry} entry
 */
export const storeEntry = (person, { mayHaveArrived, ...entry }) =>
  !entry.temporary && writeStored(storageName(person, entry.id), entry);

/** @param {string} person @param {string} id */
export const forgetEntry = (person, id) => writeStored(storageName(person, id), null);

/** Returns true if a storage event is about entries of this user. @param {string} person @param {string | null} name */
export const isOutbox = (person, name) => name === null || name.startsWith(`${PREFIX}${person}.`);

/**
 * Returns an entry with its models exchanged: the second is asked now, and the first comes beside it,
 * refused for this reason if there is one.
 *
 * @param {Entry} entry @param {string} [refusal] @returns {Entry}
 */
export function withModelsExchanged({ beside, ...entry }, refusal) {
  if (!beside) return entry;
  const { id, options } = entry;
  const other = { id, options, ...(refusal && { refusal }), ...(!beside.isFirst && { isFirst: true }) };
  return { ...entry, id: beside.id, options: beside.options, beside: other, state: "queued", fault: null };
}

/** Returns the request body of an entry. @param {Entry} entry */
export const bodyOf = ({ id, thread, text, files, options, temporary, threadOptions, folder }) => ({
  content: text,
  message_id: id,
  ...(thread ? { thread_id: thread } : { ...(temporary && { temporary }), ...(threadOptions && { options: threadOptions }), ...(folder && { folder_id: folder }) }),
  ...(files.length && { attachments: files.map((file) => file.id) }),
  ...options,
});

/**
 * Returns true if the thread ends with a message that was sent before: it is not known yet that it arrived, and
 * must not be seen twice.
 *
 * @param {Entry} entry @param {readonly import("./reduce.mjs").Message[]} messages
 */
export function isLast({ mayHaveArrived, state, text }, messages) {
  const last = messages.at(-1);
  return mayHaveArrived === true && state !== "failed" && last?.role === "user" && textOf(last) === text;
}

/** Returns the entry as a message to show. @param {Entry} entry @returns {import("./reduce.mjs").Message} */
export const asMessage = ({ id, text, files, at }) => ({
  id,
  role: "user",
  parts: [
    ...(text ? [{ type: "text", text }] : []),
    ...files.map(({ id: file, type, name, document }) => ({ type: "file", url: `/api/files/${file}`, mediaType: type, filename: name, providerMetadata: { antiphon: { document } } })),
  ],
  metadata: { createdAt: at },
});

/** @param {string} person @param {string} id */
const storageName = (person, id) => `${PREFIX}${person}.${id}`;
