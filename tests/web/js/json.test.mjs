import assert from "node:assert/strict";
import { test } from "node:test";

import { compact, layOutForEditor, shorten, joinTokens, layOut } from "../../../src/antiphon/web/static/chat/json.mjs";

const laidOut = (/** @type {string} */ text, /** @type {number} */ limit) => joinTokens(layOut(text, limit)?.tokens ?? []);

test("an object is laid out line by line", () => {
  assert.equal(laidOut('{"a":1,"b":[true,null],"c":{},"d":[]}'), '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ],\n  "c": {},\n  "d": []\n}');
});

test("numbers keep their digits, and a name that occurs twice is shown twice", () => {
  assert.equal(laidOut('{"id":12345678901234567890,"id":1.50e+3}'), '{\n  "id": 12345678901234567890,\n  "id": 1.50e+3\n}');
});

test("names are distinguished from strings", () => {
  assert.deepEqual(
    layOut('{"a":"b"}')?.tokens.map(({ kind, text }) => [kind, text]),
    [["mark", "{\n  "], ["name", '"a"'], ["mark", ": "], ["string", '"b"'], ["mark", "\n}"]],
  );
});

test("letters that were written as escapes are read", () => {
  assert.equal(laidOut('["caf\\u00e9"]'), '[\n  "café"\n]');
});

test("a line's end in a string breaks the line, a backslash and an n do not", () => {
  assert.equal(laidOut('["one\\ntwo\\n\\nthree\\\\no"]'), '[\n  "one\\n\ntwo\\n\n\\n\nthree\\\\no"\n]');
});

test("a value that is no object and no list is not laid out", () => {
  for (const text of ["", "12", '"x"', "{broken", "[1,]", "NaN", "A sentence."]) {
    assert.equal(layOut(text), null, text);
  }
});

test("only the beginning of something large is laid out", () => {
  const large = JSON.stringify(Array.from({ length: 100_000 }, (_, number) => ({ number, text: "x".repeat(10) })));
  const { tokens, whole } = layOut(large, 2000) ?? { tokens: [], whole: true };

  assert.equal(whole, false);
  assert.ok(joinTokens(tokens).length < 2100);
});

test("one string of megabytes is cut within the limit", () => {
  const { tokens } = layOut(JSON.stringify({ text: "\\\u0001é\n".repeat(500_000) }), 2000) ?? { tokens: [] };

  assert.ok(joinTokens(tokens).length < 16_000);
});

test("a hundred thousand brackets are no trouble", () => {
  const deep = "[".repeat(5_000) + "]".repeat(5_000);

  assert.equal(layOut(deep, 2000)?.whole, false);
  assert.ok(layOut(deep)?.whole);
});

test("a text for the editor parses to the same value", () => {
  const value = { name: "a\u202eb\u200b\u{e0041}", lines: "one\ntwo", big: 1 };

  const text = layOutForEditor(JSON.stringify(value));

  assert.deepEqual(JSON.parse(text), value);
  assert.match(text, /\\u202e/);
  assert.match(text, /\\udb40\\udc41/);
});

test("typed arguments are brought to one line and keep their digits", () => {
  assert.equal(compact('{\n "id" : 12345678901234567890,\n "list": [1, 2]\n}'), '{"id": 12345678901234567890, "list": [1, 2]}');
});

test("a text that is no object is refused", () => {
  assert.throws(() => compact("[1]"), { name: "SyntaxError", message: "" });
  assert.throws(() => compact("{a: 1}"), SyntaxError);
});

test("arguments in short stand in a line without their braces", () => {
  assert.equal(shorten('{\n"city": "Berlin",\n"days": 3}', 80), '"city": "Berlin", "days": 3');
  assert.equal(shorten(JSON.stringify({ text: "x".repeat(500) }), 20).length, 21);
});
