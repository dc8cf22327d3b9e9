import assert from "node:assert/strict";
import { test } from "node:test";

import { roundsOf, withUnsent } from "../../../src/antiphon/web/static/chat/rounds.mjs";

const user = (id, text = id) => ({ id, role: "user", parts: [{ type: "text", text }], metadata: {} });
const answer = (id) => ({ id, role: "assistant", parts: [], metadata: {} });
const file = (url) => ({ type: "file", url });

/** Return the ids of rounds: question and answers of both sides, and if the question is the same. */
const summarize = (rounds) =>
  rounds.map(({ turns, same }) => [...turns.map((turn) => turn && [turn.question?.id, ...turn.answers.map(({ id }) => id)]), same]);

test("a question that both have stands once above both answers", () => {
  const left = [user("a1", "tides"), answer("r1"), user("a2", "night"), answer("r2")];
  const right = [user("b1", "tides"), answer("s1"), user("b2", "night")];

  assert.deepEqual(summarize(roundsOf(left, right)), [
    [["a1", "r1"], ["b1", "s1"], true],
    [["a2", "r2"], ["b2"], true],
  ]);
});

test("a question that only one has leaves the other side empty, and what follows together", () => {
  const left = [user("a1", "tides"), user("a2", "night"), answer("r2")];
  const right = [user("b1", "tides"), user("b2", "moon"), answer("s2"), user("b3", "night")];

  assert.deepEqual(summarize(roundsOf(left, right)), [
    [["a1"], ["b1"], true],
    [null, ["b2", "s2"], false],
    [["a2", "r2"], ["b3"], true],
  ]);
});

test("different questions stand each at its side", () => {
  assert.deepEqual(summarize(roundsOf([user("a1", "tides")], [user("b1", "moon")])), [[["a1"], ["b1"], false]]);
  assert.deepEqual(summarize(roundsOf([user("a1")], [])), [[["a1"], null, false]]);
});

test("questions with different files are different", () => {
  const questionWithFile = (id, url) => ({ ...user(id, "Look"), parts: [{ type: "text", text: "Look" }, file(url)] });

  assert.equal(roundsOf([questionWithFile("a1", "/api/files/f")], [questionWithFile("b1", "/api/files/f")])[0].same, true);
  assert.equal(roundsOf([questionWithFile("a1", "/api/files/f")], [questionWithFile("b1", "/api/files/g")])[0].same, false);
});

test("a question that was refused keeps its place before those that were asked later", () => {
  const at = (message, createdAt) => ({ ...message, metadata: { createdAt } });
  const messages = [at(user("a1"), 1), at(answer("r1"), 2), at(user("a3"), 5), at(answer("r3"), 6)];

  assert.deepEqual(withUnsent(messages, [at(user("a2"), 3), at(user("a4"), 7)]).map(({ id }) => id), ["a1", "r1", "a2", "a3", "r3", "a4"]);
});
