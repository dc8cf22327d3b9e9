import assert from "node:assert/strict";
import test from "node:test";

const storage = new Map();
globalThis.localStorage = /** @type {any} */ ({
  getItem: (/** @type {string} */ name) => storage.get(name) ?? null,
  setItem: (/** @type {string} */ name, /** @type {string} */ value) => storage.set(name, value),
});

const CHAT = "../../../src/antiphon/web/static/chat";
const { changeConsents, consents, me } = await import(`${CHAT}/store.mjs`);
const { readingProvider } = await import(`${CHAT}/reading.mjs`);

const ANN = { person: { id: "ann" }, spoken_by: "here" };
const BOB = { person: { id: "bob" }, spoken_by: "here" };

test("an agreement of one person does not count for another who logs in on the same computer", () => {
  me.value = ANN;
  changeConsents({ sendsTextTo: "here", sendsVoiceTo: "there", readAnswers: true });
  assert.equal(readingProvider(), "here");

  me.value = BOB;
  assert.deepEqual(consents.value, { sendsVoiceTo: null, sendsTextTo: null, readAnswers: false });
  assert.equal(readingProvider(), "");

  me.value = ANN;
  assert.equal(readingProvider(), "here");
  assert.equal(consents.value.readAnswers, true);
  assert.deepEqual([...storage.keys()], ["antiphon.consents.ann"]);
});

test("no agreement is stored before the page knows the person", () => {
  me.value = null;
  changeConsents({ sendsTextTo: "here" });
  assert.equal(consents.value.sendsTextTo, null);
});

test("an agreement ends where another provider is set", () => {
  me.value = { ...ANN, spoken_by: "elsewhere" };
  assert.equal(readingProvider(), "");
});
