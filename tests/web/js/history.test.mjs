import assert from "node:assert/strict";
import { test } from "node:test";

import { questionBefore, mergeMessages, withAnswer } from "../../../src/antiphon/web/static/chat/history.mjs";

const user = (id, key) => ({ id, role: "user", parts: [], metadata: {}, ...(key && { key }) });
const answer = (id) => ({ id, role: "assistant", parts: [], metadata: {} });

test("what the server has stands in the place of what was shown", () => {
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

test("so does one that has no answer yet", () => {
  const shown = [user("mine", "mine")];

  assert.deepEqual(mergeMessages(shown, [user("m1")]).kept, [user("m1", "mine")]);
});

test("and it keeps it when the history is read again", () => {
  const shown = [user("m1", "mine"), answer("r1")];

  assert.deepEqual(mergeMessages(shown, [user("m1"), answer("r1")]).kept[0], user("m1", "mine"));
});

test("an answer answers the message before it", () => {
  const messages = [user("m1"), answer("r1"), user("m2"), answer("r2")];

  assert.equal(questionBefore(messages, "r2").id, "m2");
  assert.equal(questionBefore(messages, "m1").id, "m1");
});

test("an answer that goes on keeps the sources of what was cut", () => {
  const source = (url) => ({ type: "source-url", url });
  const text = (words) => ({ type: "text", text: words });
  const cut = { ...answer("r1"), parts: [text("Once upon a "), source("https://a.example/"), { type: "data-status" }] };
  const rest = { ...answer("r2"), metadata: { continues: true }, parts: [text("time."), source("https://b.example/")] };
  const { now } = withAnswer([user("m1"), cut], rest);

  assert.deepEqual(now.parts, [text("Once upon a time."), source("https://a.example/"), source("https://b.example/")]);
});

const said = (text, more) => ({ id: text, role: "user", parts: [{ type: "text", text }], metadata: {}, ...more });
const ids = ({ kept }) => kept.map(({ id, key }) => (key ? [id, key] : id));

test("what was shown since the request stays behind what the server had by then", () => {
  const asked = [user("m1"), answer("r1")];
  const shown = [...asked, said("two", { key: "two" }), answer("r2")];

  assert.deepEqual(ids(mergeMessages(shown, asked, asked)), ["m1", "r1", ["two", "two"], "r2"]);
});

test("it is shown once if the server had a part of it", () => {
  const asked = [user("m1"), answer("r1")];
  const shown = [...asked, said("two", { key: "two" }), answer("r2")];
  const saved = [...asked, said("two", { id: "m2" })];

  assert.deepEqual(ids(mergeMessages(shown, saved, asked)), ["m1", "r1", ["m2", "two"], "r2"]);
});

test("a question without an answer from before is not taken for it", () => {
  const asked = [user("m1"), answer("r1"), said("unanswered")];
  const shown = [...asked, said("two", { key: "two" })];

  assert.deepEqual(ids(mergeMessages(shown, asked, asked)), ["m1", "r1", "unanswered", ["two", "two"]]);
});

test("earlier messages that were loaded since the request stay at the beginning", () => {
  const asked = [user("m2"), answer("r2")];
  const shown = [user("m1"), answer("r1"), ...asked, said("three", { key: "three" })];

  assert.deepEqual(ids(mergeMessages(shown, asked, asked)), ["m1", "r1", "m2", "r2", ["three", "three"]]);
});

test("an answer that went on since the request stands in the place of what was cut", () => {
  const asked = [user("m1"), answer("r1")];
  const shown = [user("m1"), { ...answer("r2"), metadata: { continues: true } }];

  assert.deepEqual(ids(mergeMessages(shown, asked, asked)), ["m1", "r2"]);
});

test("what the server no longer has is not kept if it was shown before the request", () => {
  const asked = [user("m1"), answer("r1"), user("m2")];

  assert.deepEqual(ids(mergeMessages(asked, [user("m1"), answer("r1")], asked)), ["m1", "r1"]);
});
