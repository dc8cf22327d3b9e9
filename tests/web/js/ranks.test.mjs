import assert from "node:assert/strict";
import { test } from "node:test";

import { ranks } from "../../../src/antiphon/web/static/chat/markdown/ranks.mjs";

test("headings are one step below what they belong to, whatever levels a model chose", () => {
  assert.deepEqual(ranks([3, 4, 4, 6, 3]), [2, 3, 3, 4, 2]);
  assert.deepEqual(ranks([4, 3, 5]), [2, 2, 3]);
  assert.deepEqual(ranks([]), []);
});
