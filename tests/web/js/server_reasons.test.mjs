import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const CHAT = "../../../src/antiphon/web/static/chat";
const { REASONS, reasonInWords } = await import(`${CHAT}/server_reasons.mjs`);
const { setMessages } = await import(`${CHAT}/t.mjs`);

/** @param {string} code */
const tableOf = async (code) => JSON.parse(await readFile(new URL(`${CHAT}/i18n/${code}.json`, import.meta.url), "utf-8"));
const [german, english] = await Promise.all([tableOf("de"), tableOf("en")]);

test("a known reason is shown in the language of the page, with its values", () => {
  setMessages("de", german);

  assert.equal(reasonInWords("it exited with code 1"), "Er hat sich mit dem Code 1 beendet.");
  assert.equal(reasonInWords("it did not answer within 30 s"), "Er hat nicht innerhalb von 30 s geantwortet.");
  assert.equal(reasonInWords("it cannot be reached: no route {detail} $& here"), "Er ist nicht erreichbar: no route {detail} $& here");
});

test("another reason is shown as it comes, in a frame of the language", () => {
  setMessages("de", german);

  assert.equal(reasonInWords("the moon is full"), "Meldung des Servers: the moon is full");
  assert.equal(reasonInWords(""), "");
});

test("in English a reason is shown as it comes", () => {
  setMessages("en", english);

  assert.equal(reasonInWords("it exited with code 1"), "it exited with code 1");
});

test("the sentences are those of the English table", () => {
  for (const [key, sentence] of Object.entries(REASONS)) assert.equal(english[`servers.reason_${key}`], sentence);
});
