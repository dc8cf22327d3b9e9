import assert from "node:assert/strict";
import { test } from "node:test";

import { withModelsExchanged, isLast } from "../../../src/antiphon/web/static/chat/outbox.mjs";

const entry = (more) => ({ id: "one", thread: null, text: "tides", files: [], options: { model: "a" }, state: "failed", fault: "no", chat: "c", at: 1, temporary: false, ...more });
const BESIDE = { id: "two", options: { model: "b" } };

test("the second model is asked when the first is refused, which keeps its place and its reason", () => {
  const { id, options, state, fault, text, at, beside } = withModelsExchanged(entry({ beside: BESIDE }), "used up");

  assert.deepEqual({ id, options, state, fault, text, at }, { id: "two", options: { model: "b" }, state: "queued", fault: null, text: "tides", at: 1 });
  assert.deepEqual(beside, { id: "one", options: { model: "a" }, refusal: "used up", isFirst: true });
});

test("a message that both models were refused goes to the first again, and then to the second", () => {
  const { id, beside } = withModelsExchanged(withModelsExchanged(entry({ beside: BESIDE }), "used up"));

  assert.equal(id, "one");
  assert.deepEqual(beside, BESIDE);
});

const userMessage = (text) => ({ id: text, role: "user", parts: [{ type: "text", text }], metadata: {} });

test("a message that may have arrived is in the thread if that ends with it", () => {
  const sent = entry({ state: "sending", mayHaveArrived: true });

  assert.ok(isLast(sent, [userMessage("moons"), userMessage("tides")]));
  assert.ok(!isLast(sent, [userMessage("tides"), userMessage("moons")]));
  assert.ok(!isLast({ ...sent, mayHaveArrived: false }, [userMessage("tides")]));
  assert.ok(!isLast({ ...sent, state: "failed" }, [userMessage("tides")]));
});
