/** Frames come whole, however the text was split. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SseDecoder } from "../src/sse.ts";

const STREAM = "\uFEFF: hello\r\n\r\nid: 1\r\nevent: a\r\ndata: x\r\ndata:y\r\n\r\nretry: 300\n\nid: 2\ndata: { \u2028 }\n\ndata\n\nid: 3\rdata: z\r\r";
const FRAMES = [
  { id: "1", event: "a", data: "x\ny" },
  { id: "2", event: "", data: "{ \u2028 }" },
  { id: "2", event: "", data: "" },
  { id: "3", event: "", data: "z" },
];

test("frames come whole, however the text was split", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const decoder = new SseDecoder();
    const frames = [];
    for (let start = 0; start < STREAM.length; start += size) frames.push(...decoder.feed(STREAM.slice(start, start + size)));
    frames.push(...decoder.feed("\n")); // settles a CR at the end

    assert.deepEqual(frames, FRAMES, `in pieces of ${size}`);
    assert.equal(decoder.retry, 300);
  }
});
