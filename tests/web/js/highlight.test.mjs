import assert from "node:assert/strict";
import { test } from "node:test";

import { findWords } from "../../../src/antiphon/web/static/chat/highlight.mjs";

const words = (text, query) => findWords(text, query).map(([start, end]) => text.slice(start, end));

test("case and accents do not count, and a word also begins longer ones", () => {
  assert.deepEqual(words("Crème, CREME, écrème and cremes", "creme"), ["Crème", "CREME", "cremes"]);
  assert.deepEqual(words("cre\u0300me 😀 crème", "Crème"), ["cre\u0300me", "crème"]);
});

test("quoted text stands as it is, across blanks and signs", () => {
  assert.deepEqual(words("two words, two  wordsmiths, two-words", '"two words"'), ["two words", "two-words"]);
});

test("a single letter is a whole word", () => {
  assert.deepEqual(words("a an A", "a"), ["a", "A"]);
});

test("scripts without spaces are found anywhere", () => {
  assert.deepEqual(words("今日は東京へ行く", "東京"), ["東京"]);
});

test("signs in a query are no pattern, and nothing is found without a word", () => {
  assert.deepEqual(words("a.b (c)", "(.*)"), []);
  assert.deepEqual(words("c++ and c", "c++"), ["c", "c"]);
  assert.deepEqual(words("anything", ""), []);
});
