/**
 * Further versions of what was said, each in a branch.
 *
 * @module
 */

import { post } from "./api.mjs";
import { refresh } from "./conversation.mjs";
import { openThread } from "./conversation_actions.mjs";
import { findDivision, isOwn } from "./division.mjs";
import { messageKey, questionBefore } from "./history.mjs";
import { newId } from "./ids.mjs";
import { textOf } from "./reduce.mjs";
import { besideOf, navigate } from "./router.mjs";
import { chosenOptions, sendTo } from "./send.mjs";
import { BESIDE, editing, MAIN, path, refusedVersion } from "./store.mjs";
import { sentence } from "./ui/toasts.mjs";

/** @typedef {import("./history.mjs").Message} Message */
/** @typedef {import("./store.mjs").Pane} Pane */
/** @typedef {import("./outbox.mjs").Entry["files"]} Files */

/**
 * Requests another answer to the same message, in a branch. In a comparison only the model is asked whose
 * answer it is; an answer from before the comparison is of both.
 *
 * @param {string} messageId of either @param {Pane} [at]
 */
export async function regenerate(messageId, at = MAIN) {
  const message = questionBefore(at.current.value?.messages ?? [], messageId);
  if (!message) return;
  await sendInBranches({ at, message }, sharedBeside(message), textOf(message), filesOf(message), true);
}

/**
 * Returns the same message in the other thread of a comparison; null for messages of the comparison itself.
 *
 * @param {Message} message
 */
export function sharedBeside(message) {
  const begins = besideOf(path.value) && findDivision();
  if (!begins || isOwn(message, begins)) return null;
  return BESIDE.current.value?.messages.find(({ metadata }) => metadata.number === message.metadata.number) ?? null;
}

/** Messages of which a branch is being created: a key that is pressed again creates no other. */
const beginning = new Set();

/**
 * Sends a message again, in a branch that ends before it. With `other` the other model of a comparison gets it too.
 *
 * @param {{at: Pane, message: Message}} shown  the message, and where it is shown
 * @param {Message | null} other  the same message in the other thread
 * @param {string} text @param {Files} files
 * @param {boolean} [repeat]  true if it is the same message
 */
export async function sendInBranches(shown, other, text, files, repeat = false) {
  const name = messageKey(shown.message);
  if (beginning.has(name)) return;
  const asked = other ? [shown, { at: BESIDE, message: other }] : [shown];
  const isBeside = besideOf(path.value) !== null;
  /** @type {{at: Pane, id: string}[]} */
  const branches = [];
  refusedVersion.value = null;
  beginning.add(name);
  for (const each of asked) {
    try {
      branches.push({ at: each.at, id: await createBranch(each.at, each.message, repeat) });
    } catch (/** @type {any} */ fault) {
      const isPartial = branches.length > 0;
      const again = () => sendInBranches(each, isPartial ? null : other, text, files, repeat);
      if (fault?.status !== 401) refusedVersion.value = { thread: each.at.current.value?.thread.id, question: messageKey(each.message), text: sentence(fault), isPartial, again };
      break;
    }
  }
  beginning.delete(name);
  if (!branches.length) return; // one that was created gets its question, as it stands in place of the chat
  editing.value = null;
  const question = newId();
  for (const { at, id } of branches) {
    sendTo(id, { text, files }, isBeside ? { options: chosenOptions(at.current.value?.model), asked: question } : {});
  }
  const [left, right] = [MAIN, BESIDE].map((pane) => branches.find(({ at }) => at === pane)?.id ?? pane.current.value?.thread.id);
  if (isBeside) navigate(`/c/${left}/${right}`, { sure: true });
  else await openThread(branches[0].id, { sure: true });
}

/** Creates a branch that ends before a message. Returns its id. @param {Pane} at @param {Message} message @param {boolean} repeat */
async function createBranch(at, message, repeat) {
  const from = at.current.value?.thread.id;
  const { id } = await post(`/api/threads/${from}/branch`, { message_id: await savedId(message, at), repeat });
  return id;
}

/** Returns the server's id of a message, which may be shown before it has one. @param {any} message @param {Pane} at */
async function savedId(message, at) {
  if (!message.key) return message.id;
  await refresh(at);
  const { key } = message;
  return at.current.value?.messages.find((each) => /** @type {any} */ (each).key === key)?.id ?? message.id;
}

/** The files of a message, to be sent again. @param {Message} message */
export const filesOf = (message) =>
  message.parts
    .filter((part) => part.type === "file" && part.url.startsWith("/api/files/"))
    .map((part) => ({ id: part.url.split("/")[3].split("?")[0], name: part.filename, type: part.mediaType, size: 0 }));
