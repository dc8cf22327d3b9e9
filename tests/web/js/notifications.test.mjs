import assert from "node:assert/strict";
import test from "node:test";

globalThis.addEventListener ??= () => {}; // for the page's other modules

const shown = [];
globalThis.Notification = class extends EventTarget {
  static permission = "granted";
  constructor(title, { body, tag }) {
    super();
    shown.push([body, tag]);
  }
};

const CHAT = "../../../src/antiphon/web/static/chat";
const { notificationBetween, watchForNotifications } = await import(`${CHAT}/notifications.mjs`);
const { BESIDE, MAIN, prefs } = await import(`${CHAT}/store.mjs`);
const { batch } = await import(`${CHAT}/vendor/ui.mjs`);
const { setMessages } = await import(`${CHAT}/t.mjs`);

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

test("each of two answers beside each other has its own, with the name of its model", () => {
  setMessages("en", { "announce.of_model": "{model}: {text}" });
  globalThis.document ??= { hidden: true };
  prefs.value = { ...prefs.value, notifications: true };
  const stop = watchForNotifications(() => "Tides");
  MAIN.current.value = { thread: { id: "a" }, model: "moon" };
  BESIDE.current.value = { thread: { id: "b" }, model: "sun" };
  for (const { phase } of [MAIN, BESIDE]) phase.value = "streaming";
  BESIDE.phase.value = "asking";
  MAIN.phase.value = "idle";
  BESIDE.phase.value = "streaming";
  BESIDE.phase.value = "idle";

  assert.deepEqual(shown.map(([body, tag]) => [body.split(":")[0], tag]), [["sun", "antiphon b"], ["moon", "antiphon a"], ["sun", "antiphon b"]]);
  MAIN.phase.value = "streaming";
  batch(() => {
    MAIN.opening.value = "c"; // a person goes elsewhere
    MAIN.phase.value = "idle";
  });
  assert.equal(shown.length, 3);
  stop();
});
