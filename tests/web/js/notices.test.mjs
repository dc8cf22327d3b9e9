import assert from "node:assert/strict";
import test from "node:test";

const { noticeBetween } = await import("../../../src/antiphon/web/static/chat/notices.mjs");

const seen = (thread, phase) => ({ thread, phase });

test("an answer that ends and a question that opens are worth a notice, once", () => {
  assert.equal(noticeBetween(seen("a", "streaming"), seen("a", "idle")), "answer");
  assert.equal(noticeBetween(seen(null, "sending"), seen("a", "idle")), "answer");
  assert.equal(noticeBetween(seen("a", "streaming"), seen("a", "asking")), "question");
  assert.equal(noticeBetween(seen("a", "asking"), seen("a", "asking")), null);
});

test("what the person stopped, another chat and an unsent message are not", () => {
  assert.equal(noticeBetween(seen("a", "stopping"), seen("a", "idle")), null);
  assert.equal(noticeBetween(seen("a", "streaming"), seen("b", "idle")), null);
  assert.equal(noticeBetween(seen("a", "streaming"), seen(null, "idle")), null);
  assert.equal(noticeBetween(seen("a", "idle"), seen("a", "sending")), null);
});
