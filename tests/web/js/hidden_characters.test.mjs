import assert from "node:assert/strict";
import { test } from "node:test";

import { lookalikes, revealPieces, revealText } from "../../../src/antiphon/web/static/chat/hidden_characters.mjs";

test("plain words are one piece", () => {
  assert.deepEqual(revealPieces("A plain\ttext,\nin two lines."), [
    { kind: "text", text: "A plain\ttext,\nin two lines." },
  ]);
});

test("a turn of direction is named where it stands", () => {
  assert.deepEqual(revealPieces("user\u202etxt.exe"), [
    { kind: "text", text: "user" },
    { kind: "hidden", text: "<U+202E>", count: 1 },
    { kind: "text", text: "txt.exe" },
  ]);
});

test("controls appear as their pictures", () => {
  assert.equal(revealText("a\u001b[2Jb\u0000"), "a␛[2Jb␀");
});

test("letters that are written in tags are read out", () => {
  const tags = [..."obey me"].map((letter) => String.fromCodePoint(0xe0000 + letter.charCodeAt(0))).join("");

  assert.deepEqual(revealPieces(`hi${tags}`, true), [
    { kind: "text", text: "hi" },
    { kind: "tags", text: "obey me", count: 7 },
  ]);
});

test("joiners show only where a person judges", () => {
  const family = "👩\u200d👧";

  assert.equal(revealText(family), family);
  assert.equal(revealText(family, true), "👩<U+200D>👧");
});

test("many blanks are counted where a person judges", () => {
  assert.deepEqual(revealPieces(`ls${" ".repeat(300)}; rm -rf /`, true)[1], {
    kind: "blanks",
    text: "[300]",
    count: 300,
  });
});

test("many characters of a kind are shown by their number", () => {
  const [piece] = revealPieces("\u200b".repeat(5000), true);

  assert.equal(piece.count, 5000);
  assert.ok(piece.text.length < 100);
});

test("lone surrogates become the sign for no character", () => {
  assert.equal(revealText("a\ud800b"), "a\ufffdb");
});

test("foreign letters in a word of Latin ones are found", () => {
  assert.deepEqual(lookalikes("p\u0430ypal"), [{ at: 1, letter: "\u0430" }]);
  assert.deepEqual(lookalikes("привет paypal"), []);
});
