import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import {
  NOTHING,
  foldEvents,
  isOver,
  isWaiting,
  saysDone,
  currentParts,
  textOf,
} from "../../../src/antiphon/web/static/chat/reduce.mjs";
import { eventReader, isAfter } from "../../../src/antiphon/web/static/chat/sse.mjs";

const GOLDEN = new URL("../../wires/golden/", import.meta.url);
const STORIES = readdirSync(GOLDEN).filter((name) => name.endsWith(".sdk5.txt"));
const readGolden = (name) => readFileSync(new URL(`ui-${name}.sdk5.txt`, GOLDEN), "utf8");
const parseEvents = (text) => eventReader()(text);
const foldText = (text) => foldEvents(NOTHING, parseEvents(text));
const frame = (part, id) => `${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(part)}\n\n`;

test("a stream is read the same however it is cut", () => {
  for (const name of STORIES) {
    const text = readFileSync(new URL(name, GOLDEN), "utf8");
    const events = parseEvents(text);
    const reader = eventReader();
    const cut = [...text].flatMap((character) => reader(character));

    assert.deepEqual(cut, events, name);
  }
});

test("lines may end in any way, and comments are no events", () => {
  const text = ': hb\r\n\r\nid: r:1\rdata: {"a":\rdata: 1}\r\rdata: 2\n\n';
  const reader = eventReader();
  const events = [...text].flatMap((character) => reader(character));

  assert.deepEqual(events, [
    { id: "r:1", data: '{"a":\n1}' },
    { id: null, data: "2" },
  ]);
});

test("a stream cut at any event and gone on after its cursor makes the same message", () => {
  for (const name of STORIES) {
    const events = parseEvents(readFileSync(new URL(name, GOLDEN), "utf8"));
    const complete = foldEvents(NOTHING, events);
    for (let cut = 0; cut <= events.length; cut += 1) {
      const before = foldEvents(NOTHING, events.slice(0, cut));
      const after = foldEvents(before, events.slice(cut));

      assert.deepEqual(after, complete, `${name} at ${cut}`);
    }
  }
});

test("events that come again are not applied again", () => {
  for (const name of STORIES) {
    const events = parseEvents(readFileSync(new URL(name, GOLDEN), "utf8"));
    const once = foldEvents(NOTHING, events);

    assert.deepEqual(foldEvents(once, events).message, once.message, name);
  }
});

test("a run is one message, with its calls and their results", () => {
  const { message } = foldText(readGolden("parallel-calls"));

  assert.equal(message.id, "run_2");
  assert.deepEqual(
    message.parts.map((part) => part.type),
    ["step-start", "dynamic-tool", "dynamic-tool", "data-status", "data-status", "step-start", "text", "data-status"],
  );
  assert.deepEqual(message.parts[1], {
    type: "dynamic-tool",
    toolName: "look",
    toolCallId: "c0",
    state: "output-available",
    input: { x: 0 },
    output: "42",
  });
  assert.equal(message.parts[2].errorText, "It broke.");
  assert.equal(message.metadata.status, "completed");
});

test("a run that waits for a person is not over", () => {
  const waiting = foldText(readGolden("asked"));

  assert.equal(waiting.ended, "finish");
  assert.ok(isWaiting(waiting));
  assert.ok(!isOver(waiting));
});

test("a run that goes on after a person has answered waits no longer", () => {
  const resumed = foldEvents(foldText(readGolden("asked")), parseEvents(frame({ type: "start-step" }, "run_2:9.1")));

  assert.ok(!isWaiting(resumed));
  assert.equal(resumed.ended, null);
});

test("an error is the end, and stays it", () => {
  const failed = foldText(readGolden("failed"));

  assert.equal(failed.ended, "error");
  assert.ok(isOver(failed));
  assert.equal(failed.message.metadata.error.code, "provider_error");
});

test("a stream that is done without an end is not over", () => {
  const events = parseEvents(readGolden("text"));
  const cut = events.filter(({ data }) => !data.includes('"finish"'));

  assert.ok(saysDone(cut));
  assert.ok(!isOver(foldEvents(NOTHING, cut)));
});

test("a turn that was restarted is not shown", () => {
  const { message } = foldText(readGolden("restarted"));

  assert.equal(textOf(message), "It is 42.\n\nYes, 42.");
  assert.equal(currentParts(message.parts).filter((part) => part.type === "dynamic-tool").length, 1);
});

test("the raw arguments of a call are kept while they come, until the call is complete", () => {
  const start = frame({ type: "start", messageId: "r", messageMetadata: {} }, "r:1");
  const call = frame({ type: "tool-input-start", toolCallId: "c", toolName: "t", dynamic: true }, "r:2");
  const more = frame({ type: "tool-input-delta", toolCallId: "c", inputTextDelta: '{"a"' }, "r:3");
  const whole = frame({ type: "tool-input-available", toolCallId: "c", toolName: "t", input: { a: 1 } }, "r:4");

  assert.equal(foldText(start + call + more).message.parts[0].inputText, '{"a"');
  assert.deepEqual(foldText(start + call + more + whole).message.parts[0], {
    type: "dynamic-tool",
    toolName: "t",
    toolCallId: "c",
    state: "input-available",
    input: { a: 1 },
  });
});

test("the progress of a running tool stands beside the message", () => {
  const start = frame({ type: "start", messageId: "r", messageMetadata: {} }, "r:1");
  const data = { toolCallId: "c", toolName: "t", state: "running", elapsed: 3 };
  const status = frame({ type: "data-tool-status", data, transient: true });
  const output = { progress: { done: 1, total: 2, message: "half" } };
  const progress = frame({ type: "tool-output-available", toolCallId: "c", output, preliminary: true });
  const now = foldText(start + status + progress);

  assert.deepEqual(now.message.parts, []);
  assert.deepEqual(now.tools.c, { state: "running", elapsed: 3, servers: [], progress: output.progress });
});

test("unknown events and invalid JSON are ignored", () => {
  const start = frame({ type: "start", messageId: "r", messageMetadata: {} }, "r:1");
  const hostile = [
    frame({ type: "execute", code: "alert(1)" }),
    frame({ type: "__proto__" }),
    frame({ type: "text-delta", id: "__proto__", delta: "no" }),
    frame({ type: "tool-output-available", toolCallId: "nobody", output: "no" }),
    "data: {broken\n\n",
    "data: null\n\n",
    "event: message\ndata: 7\n\n",
  ].join("");

  assert.deepEqual(foldText(start + hostile).message, foldText(start).message);
});

test("an id is after another by number, then by place", () => {
  assert.ok(isAfter("r:10", "r:9"));
  assert.ok(isAfter("r:9", "r:9.2"));
  assert.ok(isAfter("r:9.10", "r:9.2"));
  assert.ok(!isAfter("r:9.2", "r:9.2"));
  assert.ok(isAfter("r:1", null));
  assert.ok(isAfter("other:1", "r:9"));
});

test("a long answer is read and folded in a moment", () => {
  const deltas = Array.from({ length: 40_000 }, (_, at) =>
    frame({ type: "text-delta", id: "t", delta: "word " }, `r:${at + 3}`),
  ).join("");
  const text =
    frame({ type: "start", messageId: "r", messageMetadata: {} }, "r:1") +
    frame({ type: "text-start", id: "t" }, "r:2") +
    deltas;
  const before = process.cpuUsage();
  const reader = eventReader();
  let now = NOTHING;
  for (let at = 0; at < text.length; at += 1000) now = foldEvents(now, reader(text.slice(at, at + 1000)));
  const spent = process.cpuUsage(before);

  assert.equal(now.message.parts[0].text.length, 200_000);
  assert.ok(spent.user < 1_500_000, `${spent.user} µs`);
});

test("a step that begins again stays in sight until text replaces it", () => {
  const before = [{ type: "step-start" }, { type: "text", text: "Half an" }, { type: "data-turn-restarted", data: {} }];
  const silent = [...before, { type: "step-start" }];
  const restarted = [...silent, { type: "text", text: "Half" }];
  const texts = (parts, options) => currentParts(parts, options).filter(({ type }) => type === "text").map(({ text }) => text);

  assert.deepEqual(texts(silent, { live: true }), ["Half an"]);
  assert.deepEqual(texts(restarted, { live: true }), ["Half"]);
  assert.deepEqual(texts(silent), []);
});
