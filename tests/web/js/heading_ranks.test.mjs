import assert from "node:assert/strict";
import { test } from "node:test";

import { headingRanks } from "../../../src/antiphon/web/static/chat/markdown/heading_ranks.mjs";

test("headings are one step below the heading that they belong to, whatever levels a model chose", () => {
  assert.deepEqual(headingRanks([3, 4, 4, 6, 3]), [2, 3, 3, 4, 2]);
  assert.deepEqual(headingRanks([4, 3, 5]), [2, 2, 3]);
  assert.deepEqual(headingRanks([]), []);
});
