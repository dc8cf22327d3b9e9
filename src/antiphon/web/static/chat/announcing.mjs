/**
 * What is said aloud of an answer to who listens to the page: that it begins, now and then how far it
 * is, its end, and once all of its words. Never its pieces.
 *
 * @typedef {{id: string, text: string, tool: string, status: string, thinking: boolean, outcome?: import("./outcome.mjs").Outcome | null}} Answering
 *   what is seen of an answer; `outcome` is why it is not whole
 * @typedef {{id: string, spokenAt: number, seen: Answering} | null} Heard  what was said of it, and when
 * @typedef {{key: string, values?: Record<string, string | number>, why?: import("./outcome.mjs").Outcome | null}} Saying
 *   `why` fills the `{why}` of the sentence
 * @typedef {{heard: Heard, says: Saying[], full: string | null}} Spoken
 */

/** Between two words on how far it is. */
export const DIGEST_MS = 7000;

const ENDS = /** @type {Record<string, string>} */ ({
  completed: "announce.end",
  cancelled: "announce.stopped",
  failed: "announce.failed",
  incomplete: "announce.incomplete",
  expired: "announce.incomplete",
});

/**
 * What is to be said now. `answering` is null where nothing is being answered.
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

/** A link or picture without another in it: the words of a link may be a picture, so it is looked for twice. */
const LINK = /!?\[([^[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)?\)/g;

/** Markdown as it is read aloud: words without their signs. @param {string} markdown */
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
 * The end, where it is one: who goes to another thread leaves an answer that goes on.
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
