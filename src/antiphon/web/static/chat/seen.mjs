/**
 * Number of messages of each thread that this browser has seen, stored in the browser only.
 *
 * Threads that were never opened here are new when they changed after this browser's first visit.
 *
 * @module
 */

import { writeStored, readStored } from "./storage.mjs";
import { signal } from "./vendor/ui.mjs";

const NAME = "antiphon.seen";

/** Most threads that are remembered; above that, all present messages count as seen. */
const MOST = 1000;

/** @typedef {{since: number, messages: Record<string, number>}} Seen  `since` in milliseconds */

/** @type {{value: Seen}} */
const seen = signal(readStored(NAME) ?? { since: Date.now(), messages: {} });

if (typeof window !== "undefined") {
  writeStored(NAME, seen.value);
  window.addEventListener("storage", ({ key }) => {
    if (key === NAME) seen.value = readStored(NAME) ?? seen.value;
  });
}

/** Remembers that all messages of a thread were seen. @param {{id: string, messages: number}} thread */
export function markSeen({ id, messages }) {
  const known = seen.value.messages;
  if (known[id] === messages) return;
  const full = Object.keys(known).length >= MOST;
  seen.value = full
    ? { since: Date.now(), messages: { [id]: messages } }
    : { ...seen.value, messages: { ...known, [id]: messages } };
  writeStored(NAME, seen.value);
}

/** Returns true if a thread has messages that were not seen here. @param {{id: string, messages: number, updated_at: number}} thread */
export function hasNewMessages({ id, messages, updated_at }) {
  const { since, messages: known } = seen.value;
  return Object.hasOwn(known, id) ? messages > known[id] : updated_at > since;
}
