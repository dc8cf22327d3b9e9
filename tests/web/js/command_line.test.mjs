/** Command lines that the page splits and writes: the words that a shell would see. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";

const { joinCommand, splitCommand } = await import("../../../src/antiphon/web/static/chat/command_line.mjs");

const LINES = [
  "uvx mcp-server-time --local-timezone=UTC",
  `sh -c 'echo "a b"  c'`,
  `one "two three" 'four five' six\\ seven ""`,
  `"a\\"b" 'a\\b' a\\\\b "c\\d" x'y'"z"`,
  "  spaced\tout \n lines ",
];

/** Return the words that a shell passes to a program. */
const shellWords = (line) => JSON.parse(execFileSync("/bin/sh", ["-c", `"$0" -e 'console.log(JSON.stringify(process.argv.slice(1)))' -- ${line.trim().replaceAll("\n", " ")}`, process.execPath], { encoding: "utf8" }));

test("a command line has the words that a shell sees", () => {
  for (const line of LINES) assert.deepEqual(splitCommand(line), shellWords(line), line);
});

test("words are written so that a shell sees the same", () => {
  const words = ["a", "", "b c", "it's", '"', "$HOME", "${TOKEN}", "`id`", "a;b", "é", "*", "~", "#x", "\\"];

  assert.deepEqual(shellWords(joinCommand(words)), words);
  assert.deepEqual(splitCommand(joinCommand(words)), words);
});

test("a quote that is not closed is no command line", () => {
  assert.equal(splitCommand("sh -c 'echo"), null);
  assert.equal(splitCommand('a "b'), null);
  assert.deepEqual(splitCommand(""), []);
  assert.deepEqual(splitCommand("a\\"), ["a\\"]);
});
