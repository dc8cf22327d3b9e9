/**
 * Options of one chat: sampling, and the tools that may be used. They are stored with the thread.
 *
 * @module
 */

import { patch } from "./api.mjs";
import { BESIDE, MAIN, threadOptions } from "./store.mjs";

/**
 * @typedef {object} ThreadOptions  what is missing is as the assistant or the provider has it
 * @property {number} [temperature]
 * @property {string} [reasoning_effort]
 * @property {number} [max_output_tokens]
 * @property {string[]} [allowed_tools]  globs of names
 */

/** Saves the options of the open chat, and of the one beside it; a new one takes them along. @param {ThreadOptions} options */
export async function saveOptions(options) {
  for (const { current } of [MAIN, BESIDE]) {
    const id = current.value?.thread.id;
    if (!id) continue;
    const row = await patch(`/api/threads/${encodeURIComponent(id)}`, { options });
    if (current.value?.thread.id !== id) return;
    current.value = { ...current.value, thread: row };
  }
  threadOptions.value = options;
}

/** Returns the globs of these tools, and of all tools of these servers. @param {string[]} tools @param {string[]} servers */
export const globsOf = (tools, servers) => [...servers.map(globOf), ...tools];

/**
 * Returns the tools and servers of globs, as a list of tools shows them; null for all.
 *
 * @param {string[] | undefined} globs @param {string[]} servers  those that there are
 */
export function choiceOf(globs, servers) {
  if (!globs) return { tools: null, servers: null };
  const chosen = servers.filter((server) => globs.includes(globOf(server)));
  const whole = new Set(chosen.map(globOf));
  return { tools: globs.filter((glob) => !whole.has(glob)), servers: chosen };
}

/** Names of tools begin with that of their server, in which other characters were replaced. @param {string} server */
const globOf = (server) => `${server.replace(/[^A-Za-z0-9_-]/g, "?")}__*`;
