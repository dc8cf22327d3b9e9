import assert from "node:assert/strict";
import { test } from "node:test";

import { divisionOf } from "../../../src/antiphon/web/static/chat/division.mjs";

/** Threads by their id, each with the one that it branches from and its first own message. */
const BRANCHES = { second: ["first", 3], again: ["second", 3], later: ["second", 7], earlier: ["second", 1] };

const lineage = (id) => (BRANCHES[id] ? [[id, BRANCHES[id][1]], ...lineage(BRANCHES[id][0])] : [[id, 0]]);
const divide = (one, other) => divisionOf(lineage(one), lineage(other));

test("a branch divides from what it came from at its first own message", () => {
  assert.equal(divide("first", "second"), 3);
  assert.equal(divide("second", "first"), 3);
  assert.equal(divide("later", "second"), 7);
});

test("branches divide where the first of them left what they have in common", () => {
  assert.equal(divide("again", "first"), 3);
  assert.equal(divide("again", "second"), 3);
  assert.equal(divide("later", "first"), 3);
  assert.equal(divide("later", "again"), 3);
  assert.equal(divide("earlier", "first"), 1);
});

test("a thread and another family divide nowhere", () => {
  assert.equal(divide("first", "first"), null);
  assert.equal(divide("first", "stranger"), null);
});
