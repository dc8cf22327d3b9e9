/**
 * Bringing together the messages that are shown and those that the server has.
 *
 * @module
 */

/** @typedef {import("./reduce.mjs").Message & {key?: string}} Message */

/**
 * The messages that are shown from now on: those of the server from its first on, and what is shown
 * before them. A message that was shown before it had its id keeps its key, so that it stays where
 * it stands on the page. `whole` says that nothing of what was shown stands before the server's.
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
 * The keys that saved messages are shown by: their own since before, or that of the message that
 * stood in front of the same answer.
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

/** The last message, where no answer to it is there yet. @param {readonly Message[]} saved @param {string | undefined} answer */
const lastAsked = (saved, answer) => (answer === undefined ? saved.at(-1) : undefined);

/** What a message is called on the page, whether or not it has its id by now. @param {Message} message */
export const messageKey = ({ id, key }) => key ?? id;

/** The person's message that this one answers, or is. @param {readonly Message[]} messages @param {string} id */
export function questionBefore(messages, id) {
  const at = messages.findIndex((message) => message.id === id);
  return messages.slice(0, at + 1).findLast(({ role }) => role === "user");
}
