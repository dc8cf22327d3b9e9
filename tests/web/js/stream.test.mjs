import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { NOTHING, foldEvents, textOf } from "../../../src/antiphon/web/static/chat/reduce.mjs";
import { eventReader } from "../../../src/antiphon/web/static/chat/sse.mjs";
import { follow } from "../../../src/antiphon/web/static/chat/stream.mjs";

const GOLDEN = new URL("../../wires/golden/", import.meta.url);
const frames = (name) =>
  readFileSync(new URL(`ui-${name}.sdk5.txt`, GOLDEN), "utf8").split(/(?<=\n\n)/);
const foldGolden = (name) => foldEvents(NOTHING, eventReader()(frames(name).join("")));
const response = (chunks) => new Response(new Blob(chunks).stream());

/** Return a clock that records pauses and does not wait for them; watchdogs never fire. */
function clock(random = 0.5) {
  const pauses = [];
  const pause = (ms, signal) => {
    if (ms >= 20_000) return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    pauses.push(ms);
    return Promise.resolve();
  };
  return { pauses, pause, random: () => random, now: () => 0 };
}

/** Follow a run with these responses, one for each attach; the last one is repeated. */
async function followResponses(answers, options = {}) {
  const cursors = [];
  const lines = [];
  const time = clock();
  const live = await follow({
    attach: async (now) => {
      cursors.push(now.cursor);
      const answer = answers[Math.min(cursors.length, answers.length) - 1];
      if (answer instanceof Error) throw answer;
      return typeof answer === "function" ? answer(now) : answer;
    },
    onChange: () => {},
    onLine: (connected) => lines.push(connected),
    signal: new AbortController().signal,
    clock: time,
    ...options,
  });
  return { live, cursors, lines, pauses: time.pauses };
}

test("a stream cut after any of its frames is gone on with, nothing missed and nothing twice", async () => {
  const all = frames("mixed");
  const after = ({ cursor }) => {
    const at = cursor ? all.findIndex((each) => each.startsWith(`id: ${cursor}\n`)) : -1;
    return response(all.slice(at + 1));
  };
  for (let cut = 0; cut < all.length; cut += 1) {
    const { live } = await followResponses([response(all.slice(0, cut)), after]);

    assert.deepEqual(live.message, foldGolden("mixed").message, `cut at ${cut}`);
  }
});

test("an end of the line without an end of the run is no end", async () => {
  const all = frames("text");
  const cut = [...all.filter((each) => !/"finish"|data-status/.test(each) && !/DONE/.test(each)), "data: [DONE]\n\n"];
  const rest = all.slice(-3);
  const { live, lines } = await followResponses([response(cut), response(rest)]);

  assert.equal(live.ended, "finish");
  assert.deepEqual(lines.at(-1), true);
  assert.ok(lines.includes(false));
});

test("a failed attach is tried again, later each time, and at most every 15 seconds", async () => {
  const down = Array.from({ length: 9 }, () => new TypeError("network"));
  const { pauses } = await followResponses([...down, response(frames("text"))]);

  assert.deepEqual(pauses, [300, 600, 1200, 2400, 4800, 9600, 15_000, 15_000, 15_000]);
});

test("a server that asks for a pause is given it", async () => {
  const busy = Object.assign(new Error("busy"), { retryAfter: 7 });
  const { pauses } = await followResponses([busy, response(frames("text"))]);

  assert.deepEqual(pauses, [7000]);
});

test("a fatal error is not tried again", async () => {
  const fatal = Object.assign(new Error("gone"), { fatal: true });

  await assert.rejects(followResponses([fatal]), /gone/);
});

test("where nothing runs there is nothing to follow", async () => {
  const { live, cursors } = await followResponses([new Response(null, { status: 204 })]);

  assert.equal(live.message, null);
  assert.equal(cursors.length, 1);
});

test("a run that waits for a person is polled, and followed once it goes on", async () => {
  const waiting = frames("asked");
  const resumed = frames("mixed").slice(-8).map((each) => each.replaceAll("run_2:2", "run_2:9"));
  const { live, lines, pauses } = await followResponses([response(waiting), response(resumed)]);

  assert.deepEqual(pauses, [4000]);
  assert.equal(textOf(live.message), "May I?\n\nAll done.");
  assert.ok(!lines.includes(false));
});

test("a stream that is silent for too long is broken", async () => {
  const silent = (_, signal) =>
    new Response(new ReadableStream({ start: (c) => signal.addEventListener("abort", () => c.error(signal.reason)) }));
  const rings = [];
  const time = clock();
  const pause = (ms, signal) => {
    if (ms === 50) {
      rings.push(ms);
      return rings.length === 1 ? Promise.resolve() : new Promise((resolve) => signal.addEventListener("abort", resolve));
    }
    return time.pause(ms, signal);
  };
  let attached = 0;
  const lines = [];
  const live = await follow({
    attach: async (now, signal) => (++attached === 1 ? silent(now, signal) : response(frames("text"))),
    onChange: () => {},
    onLine: (connected) => lines.push(connected),
    signal: new AbortController().signal,
    clock: { ...time, pause },
    silenceMs: 50,
  });

  assert.equal(attached, 2);
  assert.deepEqual(lines, [true, false, true]);
  assert.equal(live.ended, "finish");
});

test("never two attaches at once", async () => {
  let open = 0;
  let most = 0;
  const all = frames("text");
  let at = 0;
  await followResponses([
    async () => {
      open += 1;
      most = Math.max(most, open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      return response(all.slice(at, (at += 1)));
    },
  ]);

  assert.equal(most, 1);
});

test("following ends at once when it is aborted", async () => {
  const leave = new AbortController();
  const following = followResponses([() => new Promise(() => {})].map((never) => () => {
    leave.abort();
    return Promise.reject(leave.signal.reason);
  }), { signal: leave.signal });

  await assert.rejects(following, { name: "AbortError" });
});
