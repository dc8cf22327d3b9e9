import assert from "node:assert/strict";
import { test } from "node:test";

import { members } from "../../../src/antiphon/web/static/chat/json.mjs";
import { isSeenWhole, nextPart, seenTo } from "../../../src/antiphon/web/static/chat/seen_height.mjs";

const view = (top) => ({ top, height: 100, whole: 1000 });

test("a part that is scrolled past without a gap has been seen", () => {
  const seen = [0, 90, 180, 270].reduce((before, top) => seenTo(before, view(top)), 0);

  assert.equal(seen, 370);
});

test("a reader who jumps to the end has not seen the middle", () => {
  const seen = seenTo(seenTo(0, view(0)), view(900));

  assert.equal(seen, 100);
  assert.ok(!isSeenWhole(seen, view(900)));
});

test("going on part by part comes to the end", () => {
  let seen = seenTo(0, view(0));
  for (let parts = 0; parts < 20; parts += 1) seen = seenTo(seen, view(nextPart(seen, view(0))));

  assert.ok(isSeenWhole(seen, view(900)));
});

test("members keep their order, their doubles and their digits", () => {
  const list = members('{"b": {"x": [1, {"y": 2}]}, "a": "two\\nlines", "a": 12345678901234567890, "c": []}');

  assert.deepEqual(
    list?.map(({ name, length }) => [name, length]),
    [["b", 17], ["a", 9], ["a", 20], ["c", 2]],
  );
  assert.equal(list?.[2].value, "12345678901234567890");
  assert.deepEqual(members("{}"), []);
  assert.equal(members("[1]"), null);
  assert.equal(members("{no"), null);
});
