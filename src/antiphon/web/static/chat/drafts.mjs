/**
 * Drafts for each user and thread, and the scroll position of the thread.
 *
 * @module
 */

import { writeStored, readStored, storedNames } from "./storage.mjs";

const PREFIX = "antiphon.draft.";

/**
 * @typedef {object} Draft
 * @property {string} text
 * @property {import("./outbox.mjs").Entry["files"]} files  uploaded already
 * @property {number | null} scroll  pixels from the end, null at the end
 */

/** @type {Draft} */
const EMPTY = { text: "", files: [], scroll: null };

/** @param {string} person @param {string | null} thread @returns {Draft} */
export const draftOf = (person, thread) => ({ ...EMPTY, ...readStored(storageName(person, thread)) });

/** Stores these fields of a draft. @param {string} person @param {string | null} thread @param {Partial<Draft>} news */
export function storeDraft(person, thread, news) {
  const draft = { ...draftOf(person, thread), ...news };
  const nothing = !draft.text && !draft.files.length && draft.scroll === null;
  writeStored(storageName(person, thread), nothing ? null : draft);
}

/** Removes all drafts of a user, at logout. @param {string} person */
export const forgetDrafts = (person) =>
  storedNames(`${PREFIX}${person}.`).forEach((name) => writeStored(name, null));

/** @param {string} person @param {string | null} thread */
const storageName = (person, thread) => `${PREFIX}${person}.${thread ?? "new"}`;
