/**
 * Two conversations beside each other, question by question.
 *
 * @module
 */

import { textOf } from "./reduce.mjs";

/** @typedef {import("./reduce.mjs").Message & {key?: string}} Message */
/** @typedef {{question: Message | null, answers: Message[]}} Turn */
/** @typedef {{turns: [Turn | null, Turn | null], same: boolean}} Round  `same` if both have the same question */

/**
 * Returns the rounds of two lists of messages. A question that only one of them has is a round without
 * the other.
 *
 * @param {readonly Message[]} left @param {readonly Message[]} right
 * @returns {Round[]}
 */
export function roundsOf(left, right) {
  const [ones, others] = [turnsOf(left), turnsOf(right)];
  /** @type {Round[]} */
  const rounds = [];
  let [one, other] = [0, 0];
  while (one < ones.length || other < others.length) {
    const turns = /** @type {[Turn | null, Turn | null]} */ ([ones[one] ?? null, others[other] ?? null]);
    const same = isSame(turns[0], turns[1]);
    if (!same && others.slice(other).some((each) => isSame(turns[0], each))) turns[0] = null;
    else if (!same && ones.slice(one).some((each) => isSame(each, turns[1]))) turns[1] = null;
    if (turns[0]) one += 1;
    if (turns[1]) other += 1;
    rounds.push({ turns, same });
  }
  return rounds;
}

/**
 * Returns messages with those that were not accepted, each before the next question that was asked later.
 *
 * @param {readonly Message[]} messages @param {readonly Message[]} unsent
 * @returns {Message[]}
 */
export function withUnsent(messages, unsent) {
  const all = [...messages];
  for (const message of unsent) {
    const after = all.findIndex(({ role, metadata }) => role === "user" && Number(metadata.createdAt) > message.metadata.createdAt);
    all.splice(after < 0 ? all.length : after, 0, message);
  }
  return all;
}

/** @param {Turn | null} one @param {Turn | null} other */
const isSame = (one, other) =>
  Boolean(one?.question && other?.question) && contentOf(one?.question) === contentOf(other?.question);

/** @param {Message | null | undefined} message */
const contentOf = (message) =>
  message ? JSON.stringify([textOf(message), message.parts.filter(({ type }) => type === "file").map(({ url }) => url)]) : "";

/** Returns the questions, each with what follows it. @param {readonly Message[]} messages */
function turnsOf(messages) {
  /** @type {Turn[]} */
  const turns = [];
  for (const message of messages) {
    if (message.role === "user" || turns.length === 0) turns.push({ question: null, answers: [] });
    const turn = /** @type {Turn} */ (turns.at(-1));
    if (message.role === "user") turn.question = message;
    else turn.answers.push(message);
  }
  return turns;
}
