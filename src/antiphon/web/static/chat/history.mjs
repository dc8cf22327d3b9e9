/**
 * Merging of the shown messages with those of the server.
 *
 * @module
 */

import { currentParts, textOf } from "./reduce.mjs";

/** @typedef {import("./reduce.mjs").Message & {key?: string}} Message */
/** @typedef {import("./reduce.mjs").Part} Part */

/**
 * Returns the shown messages before the server's first one, then the server's, then those that were shown
 * since the request and that the server had not saved yet. A message that was shown before it had its id
 * keeps its key, and so its element. `whole` is true if no shown message precedes the server's.
 *
 * @param {readonly Message[]} shown
 * @param {readonly Message[]} saved  the newest ones of the thread, without the run in progress
 * @param {readonly Message[]} [asked]  those that were shown when the request was sent
 * @returns {{kept: Message[], whole: boolean}}
 */
export function mergeMessages(shown, saved, asked = shown) {
  const from = saved.length ? shown.findIndex(({ id }) => id === saved[0].id) : -1;
  const before = from > 0 ? shown.slice(0, from) : [];
  const keys = keysOf(shown, saved);
  const named = saved.map((message) => (keys.has(message.id) ? { ...message, key: keys.get(message.id) } : message));
  const kept = shownSince(asked, shown)
    .filter((message) => !named.some((each) => each.id === message.id || messageKey(each) === messageKey(message)))
    .reduce((list, message) => [...withoutCut(list, message), message], [...before, ...named]);
  return { kept, whole: before.length === 0 };
}

/** Returns the messages that were added at the end since then. @param {readonly Message[]} asked @param {readonly Message[]} shown */
function shownSince(asked, shown) {
  const known = new Set(asked.map(messageKey));
  return shown.slice(shown.findLastIndex((message) => known.has(messageKey(message))) + 1);
}

/** Returns the messages without the answer that this one, which is joined to it already, continues. @param {Message[]} messages @param {Message} now */
const withoutCut = (messages, now) =>
  now.metadata.continues && messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;

/**
 * Returns the keys of saved messages: their earlier key, that of the message that preceded the same
 * answer, or that of the message with the same text, if they were not shown by their id.
 *
 * @param {readonly Message[]} shown @param {readonly Message[]} saved
 * @returns {Map<string, string>}
 */
function keysOf(shown, saved) {
  const keys = new Map();
  for (const { id, key } of shown) if (key) keys.set(id, key);
  const isNew = (/** @type {Message | undefined} */ message) =>
    message?.role === "user" && !keys.has(message.id) && !shown.some(({ id }) => id === message.id);
  shown.forEach((message, at) => {
    const { key } = message;
    if (!key || saved.some(({ id }) => id === message.id)) return;
    const answer = shown[at + 1]?.id;
    const candidates = [
      saved[saved.findIndex(({ id }) => id === answer) - 1],
      saved.find((each) => isNew(each) && textOf(each) === textOf(message)),
    ];
    const asked = candidates.find(isNew);
    if (asked) keys.set(asked.id, key);
  });
  return keys;
}

/**
 * Returns the messages before the one in progress, and that one. An answer that it continues is a part
 * of it.
 *
 * @param {readonly Message[]} messages @param {Message} now
 * @returns {{before: readonly Message[], now: Message}}
 */
export function withAnswer(messages, now) {
  const before = messages.filter(({ id }) => id !== now.id);
  const cut = before.at(-1);
  if (!now.metadata.continues || cut?.role !== "assistant") return { before, now };
  return { before: before.slice(0, -1), now: { ...now, parts: joinParts(currentParts(cut.parts), currentParts(now.parts, { live: true })) } };
}

/**
 * Returns the parts of an answer and of its rest: the text goes on in the text that was cut, behind the
 * reasoning of both, and the sources of both stay.
 *
 * @param {readonly Part[]} cut @param {readonly Part[]} rest
 */
function joinParts(cut, rest) {
  const at = cut.findLastIndex(({ type }) => SHOWN.has(type));
  const goesOn = rest.findIndex(({ type }) => type === "text" || type === "dynamic-tool");
  const next = rest[goesOn];
  if (cut[at]?.type !== "text" || next?.type === "dynamic-tool") return [...cut, ...rest];
  const text = next ? { ...next, text: cut[at].text + next.text } : cut[at];
  const [first, last] = next ? [rest.slice(0, goesOn), rest.slice(goesOn + 1)] : [rest, []];
  const sources = cut.slice(at + 1).filter(({ type }) => type === "source-url");
  return [...cut.slice(0, at), ...first, text, ...sources, ...last];
}

/** Parts in which an answer can end. */
const SHOWN = new Set(["text", "dynamic-tool", "file"]);

/** Returns the message's key on the page, which stays when the message gets its id. @param {Message} message */
export const messageKey = ({ id, key }) => key ?? id;

/** Returns the user's message that this message answers, or is. @param {readonly Message[]} messages @param {string} id */
export function questionBefore(messages, id) {
  const at = messages.findIndex((message) => message.id === id);
  return messages.slice(0, at + 1).findLast(({ role }) => role === "user");
}
