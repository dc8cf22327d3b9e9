import assert from "node:assert/strict";
import test from "node:test";

const CHAT = "../../../src/antiphon/web/static/chat";
const { reading } = await import(`${CHAT}/reading.mjs`);
const { readNewAnswers, toPieces, toSpeech } = await import(`${CHAT}/speech.mjs`);
const { path } = await import(`${CHAT}/store.mjs`);

test("an answer is read without code, marks and addresses", () => {
  const answer = "# Tides\n\nThe **moon** pulls, see [this page](https://example.org/a).\n\n```js\nconst a = 1;\n```\n\n- one\n- `two`\n\nMore: https://example.org/b";
  const spokenText = toSpeech(answer);

  assert.equal(spokenText.includes("const"), false);
  assert.equal(/[#*`[\]]|https/.test(spokenText), false);
  assert.deepEqual(toPieces(spokenText), ["Tides", "The moon pulls, see this page.", "one", "two", "More:"]);
});

test("the words of a link are read, also if its address has brackets", () => {
  const spokenText = toSpeech("See [the moon](https://example.org/Moon_(Earth) \"Moon\") and ![a tide](tide.png).");

  assert.equal(spokenText, "See the moon and a tide.");
});

test("code that never ends, and tables, are left out or read as words", () => {
  assert.equal(toSpeech("~~~\nrm -rf\n").trim(), "");
  assert.deepEqual(toPieces(toSpeech("| a | b |\n|---|---|\n| 1 | 2 |")), ["a b", "1 2"]);
});

test("an answer of blank lines, bars or brackets is read at once, however long it is", () => {
  const most = 100_000;
  for (const piece of ["\n", " ", "\t", "|", "| ", "-", "- ", ": ", ">", "1", "~~~\n", "```\n", "![", "[a](", "_", "https://", "\r\n", " \n"]) {
    assert.equal(typeof toSpeech(`Tides${piece.repeat(most)}x`), "string");
    assert.equal(typeof toSpeech(`Tides\n${piece.repeat(most)}x`), "string");
  }
  assert.deepEqual(toPieces(toSpeech(`one${"\n".repeat(most)}two`)), ["one", "two"]);
});

test("a long sentence is cut at a blank, and a long word anywhere", () => {
  const pieces = toPieces(`${"word ".repeat(100)}${"x".repeat(450)}`);

  assert.equal(pieces.every((piece) => piece.length <= 200 && piece === piece.trim()), true);
  assert.equal(pieces.join("").replaceAll(" ", "").length, 400 + 450);
});

test("reading goes on when another answer comes beside it, and stops when its chat is left", () => {
  globalThis.window ??= new EventTarget();
  path.value = "/t/a";
  readNewAnswers();
  reading.value = "answer";
  path.value = "/c/a/b";
  assert.equal(reading.value, "answer");
  path.value = "/t/b";
  assert.equal(reading.value, null);
});
