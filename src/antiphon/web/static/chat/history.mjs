/**
 * Merging of the shown messages with those of the server.
 *
 * @module
 */

/** @typedef {import("./reduce.mjs").Message & {key?: string}} Message */

/**
 * Returns the shown messages before the server's first one, then the server's. A message that was
 * shown before it had its id keeps its key, and so its element. `whole` is true if no shown message
 * precedes the server's.
 *
 * @param {readonly Message[]} shown
 * @param {readonly Message[]} saved  the newest ones of the thread, without the run in progress
 * @returns {{kept: Message[], whole: boolean}}
 */
export function mergeMessages(shown, saved) {
  const from = saved.length ? shown.findIndex(({ id }) => id === saved[0].id) : -1;
  const before = from > 0 ? shown.slice(0, from) : [];
  const keys = keysOf(shown, saved);
  const kept = saved.map((message) => (keys.has(message.id) ? { ...message, key: keys.get(message.id) } : message));
  return { kept: [...before, ...kept], whole: before.length === 0 };
}

/**
 * Returns the keys of saved messages: their earlier key, or that of the message that preceded the same
 * answer.
 *
 * @param {readonly Message[]} shown @param {readonly Message[]} saved
 * @returns {Map<string, string>}
 */
function keysOf(shown, saved) {
  const keys = new Map();
  for (const { id, key } of shown) if (key) keys.set(id, key);
  shown.forEach((message, at) => {
    const { key } = message;
    if (!key || saved.some(({ id }) => id === message.id)) return;
    const answer = shown[at + 1]?.id;
    const asked = saved[saved.findIndex(({ id }) => id === answer) - 1] ?? lastAsked(saved, answer);
    if (asked?.role === "user") keys.set(asked.id, key);
  });
  return keys;
}

/** Returns the last message if it has no answer yet. @param {readonly Message[]} saved @param {string | undefined} answer */
const lastAsked = (saved, answer) => (answer === undefined ? saved.at(-1) : undefined);

/** Returns the message's key on the page, which stays when the message gets its id. @param {Message} message */
export const messageKey = ({ id, key }) => key ?? id;

/** Returns the user's message that this message answers, or is. @param {readonly Message[]} messages @param {string} id */
export function questionBefore(messages, id) {
  const at = messages.findIndex((message) => message.id === id);
  return messages.slice(0, at + 1).findLast(({ role }) => role === "user");
}
