import assert from "node:assert/strict";
import { test } from "node:test";

import { editedArguments, jsonError, isMeant } from "../../../src/antiphon/web/static/chat/answer_checks.mjs";

const pressed = { now: 1000, appeared: 0, moved: -Infinity };

test("a question that was seen can be answered", () => {
  assert.ok(isMeant(pressed));
});

test("nothing pressed within 0.3 seconds of the question is an answer", () => {
  assert.ok(!isMeant({ ...pressed, appeared: 701 }));
  assert.ok(!isMeant({ ...pressed, appeared: Infinity }));
});

test("nothing pressed within 0.3 seconds of another answer is one", () => {
  assert.ok(!isMeant({ ...pressed, moved: 900 }));
});

test("a held key and a second click of a double click are no answers", () => {
  assert.ok(!isMeant({ ...pressed, repeated: true }));
  assert.ok(!isMeant({ ...pressed, clicks: 2 }));
});

test("typed arguments have to be one object", () => {
  assert.equal(jsonError('{"a": 1}'), null);
  assert.equal(jsonError("[1]"), "");
  assert.match(jsonError("{a: 1}") ?? "", /JSON/);
});

test("only changed arguments are sent", () => {
  assert.equal(editedArguments('{\n  "a": 1\n}', '{"a":1}'), undefined);
  assert.equal(editedArguments('{"a": 2}', '{"a":1}'), '{"a": 2}');
  assert.equal(editedArguments('{"a": 2}', "broken"), '{"a": 2}');
});

test("a click amid typing is no answer", () => {
  assert.ok(!isMeant({ ...pressed, typed: pressed.now - 900 }));
  assert.ok(isMeant({ ...pressed, typed: pressed.now - 1000 }));
});
