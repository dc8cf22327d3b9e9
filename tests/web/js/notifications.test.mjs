import assert from "node:assert/strict";
import test from "node:test";

const { notificationBetween } = await import("../../../src/antiphon/web/static/chat/notifications.mjs");

const seen = (thread, phase) => ({ thread, phase });

test("an answer that ends and a question that opens are worth a notification, once", () => {
  assert.equal(notificationBetween(seen("a", "streaming"), seen("a", "idle")), "answer");
  assert.equal(notificationBetween(seen(null, "sending"), seen("a", "idle")), "answer");
  assert.equal(notificationBetween(seen("a", "streaming"), seen("a", "asking")), "question");
  assert.equal(notificationBetween(seen("a", "asking"), seen("a", "asking")), null);
});

test("what the person stopped, another chat and an unsent message are not", () => {
  assert.equal(notificationBetween(seen("a", "stopping"), seen("a", "idle")), null);
  assert.equal(notificationBetween(seen("a", "streaming"), seen("b", "idle")), null);
  assert.equal(notificationBetween(seen("a", "streaming"), seen(null, "idle")), null);
  assert.equal(notificationBetween(seen("a", "idle"), seen("a", "sending")), null);
});
