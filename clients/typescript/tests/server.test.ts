/** The client before a real server, whose address is in ANTIPHON_SERVER. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";

import { AntiphonError, Client, type Numbered, RunFailed, RunIncomplete, type Tool, tool } from "../src/index.ts";

const SERVER = process.env["ANTIPHON_SERVER"] ?? "http://127.0.0.1:8000";
const QUESTION = "When does the next LAX-JFK flight leave?";
const client = new Client(SERVER);

interface Route {
  departure: string;
  arrival: string;
}

const asked: Route[] = [];
const getFlightTimes = tool<Route>({
  name: "get_flight_times",
  description: "Flight times between two airports.",
  parameters: {
    type: "object",
    properties: { departure: { type: "string" }, arrival: { type: "string" } },
    required: ["departure", "arrival"],
  },
  run(route) {
    asked.push(route);
    return { departs: `${route.departure} 09:05` };
  },
});

async function collect(events: AsyncIterable<Numbered>): Promise<Numbered[]> {
  return Array.fromAsync(events);
}

/** A proxy that cuts each connection after so many bytes of answers, while there are cuts left. */
async function cutting(bytes: number, cuts: number) {
  const { hostname, port } = new URL(SERVER);
  const proxy = createServer();
  proxy.removeAllListeners("connection");
  let left = cuts;
  const net = await import("node:net");
  const server = net.createServer((near) => {
    const far = connect(Number(port), hostname);
    let room = left > 0 ? bytes : Number.POSITIVE_INFINITY;
    near.pipe(far);
    far.on("data", (data) => {
      near.write(data.subarray(0, room));
      room -= data.length;
      if (room > 0) return;
      left -= 1;
      near.destroy();
      far.destroy();
    });
    far.on("end", () => near.end());
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  return { url: `http://127.0.0.1:${address.port}`, close: () => server.close(), cutsLeft: () => left };
}

test("a question is answered with a tool that runs here", async () => {
  asked.length = 0;
  const { text, status, runId } = await client.ask(QUESTION, { tools: [getFlightTimes as Tool<never>] });

  assert.deepEqual(asked, [{ departure: "LAX", arrival: "JFK" }]);
  assert.equal(status, "completed");
  assert.match(text, /LAX 09:05/);
  const { data } = await client.listActions({ run_id: runId });
  assert.deepEqual(data.map((action) => [action.status, action.output]), [["completed", '{"departs":"LAX 09:05"}']]);
});

test("events are numbered without a gap, also over turns", async () => {
  const events = await collect(client.converse(QUESTION, { tools: [getFlightTimes as Tool<never>] }));
  const runId = events[0]?.event.type === "run.status" ? events[0].event.run_id : "";

  assert.deepEqual(events.map(({ number }) => number), events.map((_, place) => place + 1));
  assert.deepEqual(await collect(client.events(runId)), events);
  assert.deepEqual(await collect(client.events(runId, { after: 3 })), events.slice(3));
});

test("a tool that throws, and one that hangs, answer their calls", async () => {
  for (const [run, output] of [
    [() => { throw new RangeError("no such airport"); }, "RangeError: no such airport"],
    [() => new Promise(() => {}), "TimeoutError: get_flight_times gave no result within 0.05 s; it may or may not have been carried out."],
  ] as const) {
    const { runId } = await client.ask(QUESTION, { tools: [{ ...getFlightTimes, run }], toolTimeout: 0.05 });
    const { data } = await client.listActions({ run_id: runId });

    assert.deepEqual(data.map((action) => [action.is_error, action.output]), [[true, output]]);
  }
});

test("a tool without a function is left to a worker, and waited for", async () => {
  const { run: _, ...remote } = getFlightTimes;
  const asking = client.ask(QUESTION, { tools: [remote], metadata: { via: "typescript" } });
  const wanted = { tools: ["get_flight_times"], metadata: { via: "typescript" }, wait: 20 };
  const [action] = (await client.claimActions(wanted)).data;
  assert(action);
  await client.submitToolOutput({ run_id: action.run_id, tool_call_id: action.tool_call_id, output: "from afar", attempt: action.attempt });

  assert.match((await asking).text, /from afar/);
});

test("a stream that is cut goes on with the next event", async () => {
  const whole = await collect(client.converse("Hello"));
  for (const bytes of [200, 450, 700, 1_100]) {
    const proxy = await cutting(bytes, 3);
    const events = await collect(new Client(proxy.url).converse("Hello"));
    proxy.close();

    assert(proxy.cutsLeft() < 3);
    assert.deepEqual(events.map(({ event }) => event.type), whole.map(({ event }) => event.type));
    assert.deepEqual(events.map(({ number }) => number), whole.map(({ number }) => number));
  }
});

test("a conversation that was left is resumed, and its tool runs once", async () => {
  asked.length = 0;
  let runId = "";
  for await (const { event } of client.converse(QUESTION, { tools: [getFlightTimes as Tool<never>] })) {
    if (event.type === "run.status") runId = event.run_id;
    if (event.type === "action.required") break;
  }
  const events = await collect(client.resume(runId, { after: 0, tools: [getFlightTimes as Tool<never>] }));

  assert.equal(asked.length, 1);
  assert.equal(events[0]?.number, 1);
  assert.equal((await client.getRun(runId)).status, "completed");
});

test("a program without the tool leaves its call to one that has it", async () => {
  const events = client.converse(QUESTION, { tools: [getFlightTimes as Tool<never>] });
  let runId = "";
  for await (const { event } of events) {
    if (event.type === "run.status") runId = event.run_id;
    if (event.type === "action.required") break;
  }
  await assert.rejects(collect(client.resume(runId)), /waits for get_flight_times/);
  const resumed = await collect(client.resume(runId, { tools: [getFlightTimes as Tool<never>] }));
  assert(resumed.some(({ event }) => event.type === "run.status" && event.status === "completed"));
});

test("an answer that was cut goes on", async () => {
  const whole = await client.ask("Say 40 words");
  let cut: RunIncomplete | undefined;
  await client.ask("Say 40 words", { sampling: { max_output_tokens: 30 } }).catch((error: unknown) => {
    if (error instanceof RunIncomplete) cut = error;
  });
  assert(cut);
  const { threadId, text } = cut;
  const rest = await client.ask(null, { thread_id: threadId, continues: true });

  assert(text.length > 0 && text.length < whole.text.length);
  assert.equal(text + rest.text, whole.text);
});

test("the same question under one key is one run", async () => {
  const idempotencyKey = crypto.randomUUID();
  const first = await client.ask("Hello", { idempotencyKey });
  const second = await client.ask("Hello", { idempotencyKey });

  assert.equal(first.runId, second.runId);
  assert.equal(first.text, second.text);
});

test("a run that fails throws after its last event", async () => {
  const seen: string[] = [];
  await assert.rejects(
    async () => {
      for await (const { event } of client.converse("Hello", { model: "openai:nothing" })) seen.push(event.type);
    },
    (error: unknown) => error instanceof RunFailed || error instanceof AntiphonError,
  );
});

test("leaving a stream closes its connection and leaves the run", async () => {
  const leaving = new AbortController();
  const run = await client.createRun({ thread_id: (await client.createThread()).id });
  const reading = collect(client.events(run.id, { signal: leaving.signal }));
  leaving.abort();

  await assert.rejects(reading, { name: "AbortError" });
  assert.equal((await client.getRun(run.id)).status, "queued");
  await client.cancelRun(run.id);
  assert.deepEqual((await collect(client.events(run.id))).at(-1)?.event.type, "run.status");
});

test("records are made, listed page by page, changed and deleted", async () => {
  const metadata = { batch: crypto.randomUUID() };
  for (const title of ["a", "b", "c"]) await client.createThread({ title, metadata });
  const listed = await Array.fromAsync(client.paginate((after) => client.listThreads({ metadata, limit: 2, ...(after === undefined ? {} : { after }) })));
  const [first] = listed;
  assert(first);
  const renamed = await client.updateThread(first.id, { title: "d", pinned: true });
  await client.deleteThread(first.id);

  assert.deepEqual(listed.map(({ title }) => title), ["c", "b", "a"]);
  assert.deepEqual([renamed.title, renamed.pinned, renamed.metadata], ["d", true, metadata]);
  await assert.rejects(client.getThread(first.id), { code: "not_found", status: 404 });
});

test("files go up and come down as they are", async () => {
  const bytes = Uint8Array.from({ length: 1_000 }, (_, place) => place % 256);
  const { id, size } = await client.uploadFile(bytes, "a b.bin");

  assert.equal(size, 1_000);
  assert.deepEqual(await client.downloadFile(id), bytes);
  await client.deleteFile(id);
});

test("an error says what was wanted, what came, and which request it was", async () => {
  await assert.rejects(client.listThreads({ limit: 1_000 }), (error: unknown) => {
    assert(error instanceof AntiphonError);
    assert.equal(error.code, "invalid_request");
    assert.equal(error.status, 422);
    assert.match(error.requestId ?? "", /./);
    assert.match(String(error.details["expected"]), /100/);
    return true;
  });
  assert.throws(() => new Client("ftp://example.org"), TypeError);
  await assert.rejects(new Client("http://127.0.0.1:9", { maxRetries: 1 }).listThreads(), { code: "connection_lost" });
});
