import assert from "node:assert/strict";
import { test } from "node:test";

import { arrangeParts } from "../../../src/antiphon/web/static/chat/message_parts.mjs";
import { countTools, stateOf, tally, splitToolName } from "../../../src/antiphon/web/static/chat/calls.mjs";
import { formatSeconds, formatBytes } from "../../../src/antiphon/web/static/chat/units.mjs";

const STEP = { type: "step-start" };
const call = (/** @type {string} */ id, state = "output-available") => ({
  type: "dynamic-tool",
  toolCallId: id,
  toolName: "look",
  state,
  output: "seen",
});
const textPart = (/** @type {string} */ text) => ({ type: "text", text, state: "done" });
const reasoningPart = (/** @type {string} */ text) => ({ type: "reasoning", text, state: "done" });
const status = (/** @type {string} */ id) => ({ type: "data-status", id, data: { status: "complete" } });
const approvalPart = (/** @type {string} */ id, /** @type {string} */ state) => ({
  type: "data-approval",
  id,
  data: { toolCallId: id, state },
});

test("thirty calls in thirty turns are one group, with the thoughts between them", () => {
  const turns = Array.from({ length: 30 }, (_, turn) => [STEP, reasoningPart("hm"), call(`c${turn}`), status(`c${turn}`)]);

  const arranged = arrangeParts([...turns.flat(), STEP, textPart("It is 42.")]);

  assert.deepEqual(arranged.map((each) => each.kind), ["reasoning", "tools", "text"]);
  assert.equal(arranged[1].items.length, 59);
});

test("text between calls separates their groups", () => {
  assert.deepEqual(
    arrangeParts([call("a"), textPart("And now"), call("b"), textPart("  ")]).map((each) => each.kind),
    ["tools", "text", "tools"],
  );
});

test("a group keeps its name while it grows", () => {
  const [before] = arrangeParts([STEP, call("a")]);
  const [after] = arrangeParts([STEP, call("a"), STEP, call("b")]);

  assert.equal(before.name, after.name);
});

test("a question stands after its calls until it is answered", () => {
  const calls = [call("a", "input-available"), call("b", "input-available")];

  assert.deepEqual(
    arrangeParts([...calls, approvalPart("a", "requested"), approvalPart("b", "requested")]).map((each) => each.name),
    ["tools:a", "approval:a", "approval:b"],
  );
  const [group, ...rest] = arrangeParts([...calls, approvalPart("a", "approved"), approvalPart("b", "refused")]);
  assert.deepEqual(rest, []);
  assert.equal(group.approvals.b.state, "refused");
});

test("the state of a call follows from its parts", () => {
  const running = call("a", "input-available");

  assert.equal(stateOf(call("a", "input-streaming"), { live: true }), "writing");
  assert.equal(stateOf(running, { live: true, status: { state: "waiting", elapsed: 0 } }), "waiting");
  assert.equal(stateOf(running, { live: true }), "running");
  assert.equal(stateOf(running, { live: true, approval: { state: "requested" } }), "asking");
  assert.equal(stateOf(running, { live: false }), "left");
  assert.equal(stateOf({ ...call("a"), preliminary: true }, { live: true }), "running");
  assert.equal(stateOf(call("a"), {}), "done");
  assert.equal(stateOf(call("a", "output-error"), {}), "failed");
  assert.equal(stateOf(call("a", "output-error"), { approval: { state: "refused" } }), "refused");
});

test("calls are counted by their states and by their tools", () => {
  assert.deepEqual(tally(["done", "failed", "done"]), { done: 2, failed: 1 });
  assert.deepEqual(countTools([{ type: "", toolName: "a" }, { type: "", toolName: "b" }, { type: "", toolName: "b" }]), [["b", 2], ["a", 1]]);
});

test("the name of a tool is split from the name of its server", () => {
  assert.deepEqual(splitToolName("far__write", []), { own: "write", server: "far" });
  assert.deepEqual(splitToolName("a__b__write", [{ name: "a__b__write", server: "a__b" }]), { own: "write", server: "a__b" });
  assert.deepEqual(splitToolName("my__function", [{ name: "my__function", server: null }]), { own: "my__function", server: "" });
  assert.deepEqual(splitToolName("__x", []), { own: "__x", server: "" });
});

test("sizes and times are written as people write them", () => {
  assert.equal(formatBytes(2_000_000, "en"), "2 MB");
  assert.equal(formatBytes(1_540, "de"), "1,5 kB");
  assert.equal(formatBytes(12, "en"), "12 bytes");
  assert.equal(formatSeconds(0.34, "en", true), "0.3 sec");
  assert.equal(formatSeconds(12.9, "en"), "12 sec");
  assert.equal(formatSeconds(125, "en"), "2 min 5 sec");
});
