/**
 * Editing of messages that were sent.
 *
 * @module
 */

import { findDivision, isOwn } from "./division.mjs";
import { messageKey } from "./history.mjs";
import { roundsOf } from "./rounds.mjs";
import { besideOf } from "./router.mjs";
import { BESIDE, MAIN, path } from "./store.mjs";
import { filesOf, sendInBranches, sharedBeside } from "./versions.mjs";

/** @typedef {import("./history.mjs").Message} Message */

/**
 * Replaces an earlier message in a new branch; the original branch stays. A message that went to both models
 * of a comparison goes to both again.
 *
 * @param {string} name  of the message @param {string} text @param {import("./versions.mjs").Files} [files]
 * @param {import("./store.mjs").Pane} [at]
 */
export async function edit(name, text, files, at = MAIN) {
  const message = at.current.value?.messages.find((each) => messageKey(each) === name);
  if (!message) return;
  const other = at === MAIN ? (sharedBeside(message) ?? askedBeside(message)) : null;
  await sendInBranches({ at, message }, other, text, files ?? filesOf(message));
}

/** Returns the other thread's question that is shown together with this question. @param {Message} question */
function askedBeside(question) {
  const begins = besideOf(path.value) && findDivision();
  if (!begins) return null;
  const [own, others] = [MAIN, BESIDE].map(({ current }) => (current.value?.messages ?? []).filter((message) => isOwn(message, begins)));
  const round = roundsOf(own, others).find(({ turns, same }) => same && turns[0]?.question?.id === question.id);
  return round?.turns[1]?.question ?? null;
}
