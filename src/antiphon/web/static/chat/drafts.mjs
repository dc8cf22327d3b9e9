/**
 * What was written and not sent, per person and thread; and how far its thread was read.
 *
 * @module
 */

import { keep, kept, keptNames } from "./keeping.mjs";

const PREFIX = "antiphon.draft.";

/**
 * @typedef {object} Draft
 * @property {string} text
 * @property {{id: string, name: string, type: string, size: number}[]} files  uploaded already
 * @property {number | null} scroll  pixels from the end, null at the end
 */

/** @type {Draft} */
const EMPTY = { text: "", files: [], scroll: null };

/** @param {string} person @param {string | null} thread @returns {Draft} */
export const draftOf = (person, thread) => ({ ...EMPTY, ...kept(named(person, thread)) });

/** Keeps what is given of a draft beside the rest of it. @param {string} person @param {string | null} thread @param {Partial<Draft>} news */
export function keepDraft(person, thread, news) {
  const draft = { ...draftOf(person, thread), ...news };
  const nothing = !draft.text && !draft.files.length && draft.scroll === null;
  keep(named(person, thread), nothing ? null : draft);
}

/** Forgets all that this person has not sent; for who logs out. @param {string} person */
export const forgetDrafts = (person) =>
  keptNames(`${PREFIX}${person}.`).forEach((name) => keep(name, null));

/** @param {string} person @param {string | null} thread */
const named = (person, thread) => `${PREFIX}${person}.${thread ?? "new"}`;
