import assert from "node:assert/strict";
import { test } from "node:test";

import { questionBefore, mergeMessages, withAnswer } from "../../../src/antiphon/web/static/chat/history.mjs";

const user = (id, key) => ({ id, role: "user", parts: [], metadata: {}, ...(key && { key }) });
const answer = (id) => ({ id, role: "assistant", parts: [], metadata: {} });

test("messages of the server replace those that were shown", () => {
  const shown = [user("m1"), answer("r1")];
  const saved = [user("m1"), answer("r1"), user("m2"), answer("r2")];

  assert.deepEqual(mergeMessages(shown, saved), { kept: saved, whole: true });
});

test("earlier messages that are shown stay", () => {
  const shown = [user("m1"), answer("r1"), user("m2"), answer("r2")];
  const saved = [user("m2"), answer("r2"), user("m3")];
  const { kept, whole } = mergeMessages(shown, saved);

  assert.deepEqual(kept.map(({ id }) => id), ["m1", "r1", "m2", "r2", "m3"]);
  assert.equal(whole, false);
});

test("a message that was shown before it had its id keeps its place on the page", () => {
  const shown = [user("m1"), answer("r1"), user("mine", "mine"), answer("r2")];
  const saved = [user("m1"), answer("r1"), user("m2"), answer("r2")];

  assert.deepEqual(mergeMessages(shown, saved).kept[2], user("m2", "mine"));
});

test("a message without an answer keeps its place on the page too", () => {
  const shown = [user("mine", "mine")];

  assert.deepEqual(mergeMessages(shown, [user("m1")]).kept, [user("m1", "mine")]);
});

test("a message keeps its place when the history is read again", () => {
  const shown = [user("m1", "mine"), answer("r1")];

  assert.deepEqual(mergeMessages(shown, [user("m1"), answer("r1")]).kept[0], user("m1", "mine"));
});

test("an answer answers the message before it", () => {
  const messages = [user("m1"), answer("r1"), user("m2"), answer("r2")];

  assert.equal(questionBefore(messages, "r2").id, "m2");
  assert.equal(questionBefore(messages, "m1").id, "m1");
});

test("an answer that goes on keeps the sources of its cut part", () => {
  const source = (url) => ({ type: "source-url", url });
  const text = (words) => ({ type: "text", text: words });
  const cut = { ...answer("r1"), parts: [text("Once upon a "), source("https://a.example/"), { type: "data-status" }] };
  const rest = { ...answer("r2"), metadata: { continues: true }, parts: [text("time."), source("https://b.example/")] };
  const { now } = withAnswer([user("m1"), cut], rest);

  assert.deepEqual(now.parts, [text("Once upon a time."), source("https://a.example/"), source("https://b.example/")]);
});

const question = (text, more) => ({ id: text, role: "user", parts: [{ type: "text", text }], metadata: {}, ...more });
const ids = ({ kept }) => kept.map(({ id, key }) => (key ? [id, key] : id));

test("messages that were shown since the request stay behind those of the server", () => {
  const shownAtRequest = [user("m1"), answer("r1")];
  const shown = [...shownAtRequest, question("two", { key: "two" }), answer("r2")];

  assert.deepEqual(ids(mergeMessages(shown, shownAtRequest, shownAtRequest)), ["m1", "r1", ["two", "two"], "r2"]);
});

test("a message is shown once if the server had it already", () => {
  const shownAtRequest = [user("m1"), answer("r1")];
  const shown = [...shownAtRequest, question("two", { key: "two" }), answer("r2")];
  const saved = [...shownAtRequest, question("two", { id: "m2" })];

  assert.deepEqual(ids(mergeMessages(shown, saved, shownAtRequest)), ["m1", "r1", ["m2", "two"], "r2"]);
});

test("a question of another tab does not take the place of one that was shown since the request", () => {
  const shownAtRequest = [user("m1"), answer("r1")];
  const shown = [...shownAtRequest, question("three", { key: "three" })];
  const saved = [...shownAtRequest, question("two", { id: "m2" })];

  assert.deepEqual(ids(mergeMessages(shown, saved, shownAtRequest)), ["m1", "r1", "m2", ["three", "three"]]);
});

test("an earlier question without an answer is not taken for a new one", () => {
  const shownAtRequest = [user("m1"), answer("r1"), question("unanswered")];
  const shown = [...shownAtRequest, question("two", { key: "two" })];

  assert.deepEqual(ids(mergeMessages(shown, shownAtRequest, shownAtRequest)), ["m1", "r1", "unanswered", ["two", "two"]]);
});

test("earlier messages that were loaded since the request stay at the beginning", () => {
  const shownAtRequest = [user("m2"), answer("r2")];
  const shown = [user("m1"), answer("r1"), ...shownAtRequest, question("three", { key: "three" })];

  assert.deepEqual(ids(mergeMessages(shown, shownAtRequest, shownAtRequest)), ["m1", "r1", "m2", "r2", ["three", "three"]]);
});

test("an answer that went on since the request replaces the cut one", () => {
  const shownAtRequest = [user("m1"), answer("r1")];
  const shown = [user("m1"), { ...answer("r2"), metadata: { continues: true } }];

  assert.deepEqual(ids(mergeMessages(shown, shownAtRequest, shownAtRequest)), ["m1", "r2"]);
});

test("a message that the server no longer has goes if it was shown before the request", () => {
  const shownAtRequest = [user("m1"), answer("r1"), user("m2")];

  assert.deepEqual(ids(mergeMessages(shownAtRequest, [user("m1"), answer("r1")], shownAtRequest)), ["m1", "r1"]);
});
