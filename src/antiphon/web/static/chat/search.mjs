/** Search in messages: the best ones that hold the words, and the way to each. */
import { get } from "./api.mjs";
import { unmarkWords } from "./found_words.mjs";
import { found, foundMessage } from "./store.mjs";
import { runAndReport } from "./ui/toasts.mjs";

/**
 * @typedef {object} FoundMessage
 * @property {string} id
 * @property {string} thread_id
 * @property {string} title
 * @property {number} number  its place in the thread
 * @property {[string, boolean][]} snippet  pieces of the text, true where words were found
 *
 * @typedef {{query: string, data: FoundMessage[], indexing: {done: number, total: number} | null}} Found
 */

/** Finds the messages that hold these words; nothing for none. @param {string} query */
export async function searchMessages(query) {
  found.value = { ...found.value, query };
  unmarkWords();
  if (!query) {
    found.value = { query, data: [], indexing: null };
    return;
  }
  await runAndReport(async () => {
    const { data, indexing } = await get("/api/search", { query: { q: query } });
    if (found.value.query === query) found.value = { query, data, indexing };
  });
}

/** Has the conversation show this message, with the words marked, as soon as its thread is open. @param {FoundMessage} message */
export function seek({ thread_id, number }) {
  foundMessage.value = { thread: thread_id, number, words: found.value.query };
}
