import assert from "node:assert/strict";
import { test } from "node:test";

import { outcomeOf } from "../../../src/antiphon/web/static/chat/outcome.mjs";
import { outcomeWords, problemWords } from "../../../src/antiphon/web/static/chat/problems.mjs";
import { setMessages } from "../../../src/antiphon/web/static/chat/t.mjs";

test("a complete answer needs no note", () => {
  assert.equal(outcomeOf({ status: "completed" }, false), null);
  assert.equal(outcomeOf({}, true), null);
});

test("an answer without anything in it says so and can be asked for again", () => {
  assert.deepEqual(outcomeOf({ status: "completed" }, true), { key: "message.empty", problem: null, next: "retry" });
});

test("each reason for a part of an answer has a sentence of its own", () => {
  const table = { "message.incomplete_stalled": "Nothing came.", "message.cut": "It was cut off." };
  setMessages("en", table);

  assert.equal(outcomeOf({ status: "incomplete", reason: "stalled" }, false)?.key, "message.incomplete_stalled");
  assert.equal(outcomeOf({ status: "incomplete", reason: "of a later version" }, false)?.key, "message.cut");
});

test("a part of an answer can be continued, unless there is none or it was filtered", () => {
  assert.equal(outcomeOf({ status: "incomplete", reason: "length" }, false)?.next, "continue");
  assert.equal(outcomeOf({ status: "incomplete", reason: "length" }, true)?.next, "retry");
  assert.equal(outcomeOf({ status: "incomplete", reason: "content_filter" }, false)?.next, "retry");
});

test("a failure is shown in the reader's language, with the server's words where they say more", () => {
  const auth = { key: "message.failed", problem: { code: "provider_auth", message: "Wrong key." }, next: null };
  const table = { "problem.provider_auth": "Schlüssel abgelehnt.", "problem.provider_error": "Fehler." };
  setMessages("de", table);
  assert.equal(outcomeWords(auth), "Schlüssel abgelehnt.");
  assert.equal(problemWords("provider_error", "boom"), "Fehler. (boom)");
  assert.equal(problemWords("of_a_later_version", "Some words."), "Some words.");
  setMessages("en", table);
  assert.equal(outcomeWords(auth), "Wrong key.");
});
