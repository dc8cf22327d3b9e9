import assert from "node:assert/strict";
import test from "node:test";

const CHAT = "../../../src/antiphon/web/static/chat";
const { findMemories } = await import(`${CHAT}/personal.mjs`);
const { readRemembered } = await import(`${CHAT}/ui/remembered.mjs`);

const output = JSON.stringify({ memory_id: "mem_1m88", remembered: "Likes tea." });

test("a call of remember says what it has noted", () => {
  assert.deepEqual(readRemembered("remember", output), { id: "mem_1m88", text: "Likes tea." });
});

test("another tool, and an output of another form, have noted nothing", () => {
  assert.equal(readRemembered("s__remember", output), null);
  for (const odd of ["", "null", "7", "[]", "{}", '{"memory_id": "mem_../x", "remembered": "a"}', '{"memory_id": "mem_1", "remembered": 7}']) {
    assert.equal(readRemembered("remember", odd), null, odd);
  }
});

test("memories are found by words in any case, in their order", () => {
  const all = [{ text: "Likes Tea." }, { text: "Speaks Basque." }, { text: "tea at five" }];
  assert.deepEqual(findMemories(all, " TEA ").map(({ text }) => text), ["Likes Tea.", "tea at five"]);
  assert.equal(findMemories(all, "").length, 3);
});
