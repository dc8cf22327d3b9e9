/**
 * Announcements of an answer for screen readers: its start, its progress from time to time, its end,
 * and once its whole text. Never its deltas.
 *
 * @typedef {{id: string, text: string, tool: string, status: string, thinking: boolean, outcome?: import("./outcome.mjs").Outcome | null}} Answering
 *   what is seen of an answer; `outcome` is why it is not whole
 * @typedef {{id: string, spokenAt: number, seen: Answering} | null} Heard  what was said of it, and when
 * @typedef {{key: string, values?: Record<string, string | number>, why?: import("./outcome.mjs").Outcome | null}} Saying
 *   `why` fills the `{why}` of the sentence
 * @typedef {{heard: Heard, says: Saying[], full: string | null}} Spoken
 */

/** Milliseconds between two announcements of progress. */
export const DIGEST_MS = 7000;

const ENDS = /** @type {Record<string, string>} */ ({
  completed: "announce.end",
  cancelled: "announce.stopped",
  failed: "announce.failed",
  incomplete: "announce.incomplete",
  expired: "announce.incomplete",
});

/**
 * Returns what to announce now. `answering` is null if no answer is in progress.
 *
 * @param {Heard} heard
 * @param {Answering | null} answering
 * @param {number} now milliseconds
 * @returns {Spoken}
 */
export function nextAnnouncement(heard, answering, now) {
  if (!answering) return heard ? announceEnd(heard) : { heard: null, says: [], full: null };
  if (!heard || heard.id !== answering.id) return announceStart(heard, answering, now);
  if (now - heard.spokenAt < DIGEST_MS) return { heard: { ...heard, seen: answering }, says: [], full: null };
  return { heard: { id: answering.id, spokenAt: now, seen: answering }, says: [digest(answering)], full: null };
}

/** Link or image without a nested one. The text of a link may be an image, so it is applied twice. */
const LINK = /!?\[([^[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)?\)/g;

/** Returns the text of Markdown without its markup, to be read aloud. @param {string} markdown */
export const plainWords = (markdown) =>
  markdown
    .replace(/^[ \t]*(```|~~~).*$/gm, "")
    .replace(LINK, "$1")
    .replace(LINK, "$1")
    .replace(/^[ \t]{0,3}(#{1,6}|>|[-*+])\s+/gm, "")
    .replace(/(\*\*|__|~~|`)/g, "")
    .replace(/\n{3,}/g, "\n\n")
    .trim();

/** @param {Heard} heard @param {Answering} answering @param {number} now @returns {Spoken} */
function announceStart(heard, answering, now) {
  const before = heard ? announceEnd(heard) : { says: [], full: null };
  return {
    heard: { id: answering.id, spokenAt: now, seen: answering },
    says: [...before.says, { key: "announce.start" }],
    full: before.full,
  };
}

/**
 * Returns the announcement of the end, if the answer has ended: it may go on in a thread that was left.
 *
 * @param {NonNullable<Heard>} heard
 * @returns {Spoken}
 */
function announceEnd({ seen }) {
  if (!(seen.status in ENDS)) return { heard: null, says: [], full: null };
  const { outcome = null } = seen;
  const says = outcome?.key === "message.empty" ? { key: "announce.empty" } : { key: ENDS[seen.status], ...(outcome ? { why: outcome } : {}) };
  return { heard: null, says: [says], full: plainWords(seen.text) || null };
}

/** @param {Answering} answering @returns {Saying} */
function digest({ text, tool, thinking }) {
  if (tool) return { key: "announce.tool", values: { tool } };
  if (thinking || !text.trim()) return { key: "announce.thinking" };
  return { key: "announce.digest", values: { count: text.trim().split(/\s+/).length } };
}
