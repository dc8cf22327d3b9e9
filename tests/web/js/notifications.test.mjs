import assert from "node:assert/strict";
import test from "node:test";

globalThis.addEventListener ??= () => {}; // for the page's other modules

const sentNotifications = [];
globalThis.Notification = class extends EventTarget {
  static permission = "granted";
  constructor(title, { body, tag }) {
    super();
    sentNotifications.push([body, tag]);
  }
};

const CHAT = "../../../src/antiphon/web/static/chat";
const { notificationBetween, watchForNotifications } = await import(`${CHAT}/notifications.mjs`);
const { BESIDE, MAIN, prefs } = await import(`${CHAT}/store.mjs`);
const { batch } = await import(`${CHAT}/vendor/ui.mjs`);
const { setMessages } = await import(`${CHAT}/t.mjs`);

const state = (thread, phase) => ({ thread, phase });

test("an answer that ends and a question that opens are worth a notification, once", () => {
  assert.equal(notificationBetween(state("a", "streaming"), state("a", "idle")), "answer");
  assert.equal(notificationBetween(state(null, "sending"), state("a", "idle")), "answer");
  assert.equal(notificationBetween(state("a", "streaming"), state("a", "asking")), "question");
  assert.equal(notificationBetween(state("a", "asking"), state("a", "asking")), null);
});

test("a stopped answer, another chat and an unsent message are worth no notification", () => {
  assert.equal(notificationBetween(state("a", "stopping"), state("a", "idle")), null);
  assert.equal(notificationBetween(state("a", "streaming"), state("b", "idle")), null);
  assert.equal(notificationBetween(state("a", "streaming"), state(null, "idle")), null);
  assert.equal(notificationBetween(state("a", "idle"), state("a", "sending")), null);
});

test("each of two answers side by side has its own notification, with the name of its model", () => {
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

  assert.deepEqual(sentNotifications.map(([body, tag]) => [body.split(":")[0], tag]), [["sun", "antiphon b"], ["moon", "antiphon a"], ["sun", "antiphon b"]]);
  MAIN.phase.value = "streaming";
  batch(() => {
    MAIN.opening.value = "c"; // a person goes elsewhere
    MAIN.phase.value = "idle";
  });
  assert.equal(sentNotifications.length, 3);
  stop();
});
