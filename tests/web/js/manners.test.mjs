import assert from "node:assert/strict";
import { test } from "node:test";

import { DIGEST_MS, nextAnnouncement, plainWords } from "../../../src/antiphon/web/static/chat/announcements.mjs";
import { shortcutFor, keyLabels } from "../../../src/antiphon/web/static/chat/shortcuts.mjs";
import { isAway } from "../../../src/antiphon/web/static/chat/follow_end.mjs";

const at = (/** @type {number} */ top, height = 1000, view = 400) => ({ top, height, view });

test("one pixel up is away, and the end is back", () => {
  assert.equal(isAway(false, at(600), at(595)), true);
  assert.equal(isAway(true, at(300), at(400)), true);
  assert.equal(isAway(true, at(500), at(580)), false);
});

test("growth neither takes a reader away from the end nor brings one back", () => {
  assert.equal(isAway(false, at(600), at(600, 1400)), false);
  assert.equal(isAway(true, at(300), at(300, 1400)), true);
});

test("a text that shrinks leaves the reader at its end", () => {
  assert.equal(isAway(false, at(600), at(300, 700)), false);
});

const seen = { id: "run_1", text: "", tool: "", status: "", thinking: false };

test("an answer is announced when it begins, every seven seconds, and in full at its end", () => {
  const start = nextAnnouncement(null, seen, 0);
  const quiet = nextAnnouncement(start.heard, { ...seen, text: "It is" }, DIGEST_MS - 1);
  const digest = nextAnnouncement(quiet.heard, { ...seen, text: "It is 42 **now**" }, DIGEST_MS);
  const last = nextAnnouncement(digest.heard, { ...seen, text: "It is 42 **now**.", status: "completed" }, DIGEST_MS + 1);
  const end = nextAnnouncement(last.heard, null, DIGEST_MS + 2);

  assert.deepEqual(start.says, [{ key: "announce.start" }]);
  assert.deepEqual(quiet.says, []);
  assert.deepEqual(digest.says, [{ key: "announce.digest", values: { count: 4 } }]);
  assert.deepEqual(last.says, []);
  assert.deepEqual([end.says, end.full], [[{ key: "announce.end" }], "It is 42 now."]);
  assert.deepEqual(nextAnnouncement(end.heard, null, DIGEST_MS + 3), { heard: null, says: [], full: null });
});

test("a digest names the tool that works", () => {
  const { heard } = nextAnnouncement(null, seen, 0);

  assert.deepEqual(nextAnnouncement(heard, { ...seen, tool: "look" }, DIGEST_MS).says, [{ key: "announce.tool", values: { tool: "look" } }]);
});

test("a stopped answer is not announced as complete", () => {
  const { heard } = nextAnnouncement(null, { ...seen, text: "Half", status: "cancelled" }, 0);

  assert.deepEqual(nextAnnouncement(heard, null, 1).says, [{ key: "announce.stopped" }]);
});

test("an answer that is left while it goes on is not announced as ended", () => {
  const { heard } = nextAnnouncement(null, { ...seen, text: "Half", status: "in_progress" }, 0);

  assert.deepEqual(nextAnnouncement(heard, null, 1), { heard: null, says: [], full: null });
});

test("marks of Markdown are not read aloud", () => {
  assert.equal(plainWords("# Flights\n\n- **AA1** to [JFK](https://x.example)\n```py\nx = 1\n```"), "Flights\n\nAA1 to JFK\n\nx = 1");
});

const pressed = (/** @type {string} */ key, more = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });

test("keys mean the same with Ctrl and with the command key", () => {
  assert.equal(shortcutFor(pressed("O", { ctrlKey: true, shiftKey: true }), true), "new");
  assert.equal(shortcutFor(pressed("k", { metaKey: true }), true), "search");
  assert.equal(shortcutFor(pressed("Escape"), true), "stop");
  assert.equal(shortcutFor(pressed("Escape", { shiftKey: true }), true), "compose");
});

test("a question mark is help where nothing is written, and a slash with Ctrl everywhere", () => {
  assert.equal(shortcutFor(pressed("?", { shiftKey: true }), false), "help");
  assert.equal(shortcutFor(pressed("?", { shiftKey: true }), true), null);
  assert.equal(shortcutFor(pressed("/", { ctrlKey: true, shiftKey: true }), true), "help");
});

test("keys of an input method, other keys and held ones mean nothing", () => {
  assert.equal(shortcutFor(pressed("Escape", { isComposing: true }), true), null);
  assert.equal(shortcutFor(pressed("k"), false), null);
  assert.equal(shortcutFor(pressed("k", { ctrlKey: true, altKey: true }), false), null);
  assert.equal(shortcutFor(pressed("k", { ctrlKey: true, repeat: true }), false), null);
});

test("keys are written as they stand on the keyboard", () => {
  assert.deepEqual(keyLabels({ id: "new", key: "o", control: true, shift: true }, false), ["Ctrl", "Shift", "O"]);
  assert.deepEqual(keyLabels({ id: "new", key: "o", control: true, shift: true }, true), ["⌘", "⇧", "O"]);
});

test("marks without an end are read aloud in the time that their length takes", () => {
  const slow = ["[", "![", "[a](", "[a", "**", "- ", "```", "\n", "# "].filter((mark) => {
    const before = process.cpuUsage().user;
    plainWords(mark.repeat(200_000 / mark.length));
    return process.cpuUsage().user - before > 1_000_000;
  });

  assert.deepEqual(slow, []);
});

test("the words of a picture that is a link are read aloud once", () => {
  assert.equal(plainWords("[![a plan](https://p.example/a_(1).png)](https://x.example) below"), "a plan below");
});
