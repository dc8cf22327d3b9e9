// Reads streams as a page does, with one of the clients: `node read.mjs agui1 FOLDER`.
//
// In: lines, each a list of lists of exchanges; one has a `stream`, a list of pieces of bytes in base64, and
// may have `answers`, tool messages that the page adds, and a `resume`, before it asks for it. Of
// one list an agent reads all. Out: of each list, the messages that came to be, what was asked for
// them, the runs as they began and ended, and what was complained of.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/.`);
const { HttpAgent } = await import(pathToFileURL(require.resolve(name)));
const complaints = [];
for (const level of ["warn", "error"]) console[level] = (...said) => complaints.push(said.join(" "));

const body = (pieces) =>
  new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new Uint8Array(Buffer.from(piece, "base64")));
      controller.close();
    },
  });

async function read(exchanges) {
  let pieces;
  const asked = [];
  complaints.length = 0;
  const agent = new HttpAgent({
    url: "http://127.0.0.1/agui",
    threadId: "thread_1",
    initialMessages: [{ id: "mine", role: "user", content: "hello" }],
    fetch: async (_, { body: sent }) => {
      asked.push(JSON.parse(sent));
      return new Response(body(pieces), { headers: { "content-type": "text/event-stream" } });
    },
  });
  const runs = [];
  const failures = [];
  agent.subscribe({
    onRunStartedEvent: ({ event }) => void runs.push(["started", event.threadId, event.runId]),
    onRunFinishedEvent: ({ event, outcome, interrupts, pendingToolCallIds }) =>
      void runs.push(["finished", event.threadId, event.runId, outcome ?? null, interrupts ?? [], pendingToolCallIds ?? []]),
    onRunErrorEvent: ({ event }) => void runs.push(["failed", event.code, event.message]),
    onCustomEvent: ({ event }) => void runs.push(["custom", event.name]),
    onRunFailed: ({ error }) => void failures.push(String(error.message ?? error)),
  });
  for (const { stream, answers, resume } of exchanges) {
    pieces = stream;
    for (const answer of answers ?? []) agent.addMessage(answer);
    try {
      // An agent asks for nothing while a question of its is open.
      const dropped = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: "cancelled" }));
      await agent.runAgent({ resume: resume ?? dropped });
    } catch (error) {
      failures.push(String(error.message ?? error));
    }
  }
  return { messages: agent.messages, asked, runs, failures, complaints: [...complaints] };
}

for await (const line of createInterface({ input: process.stdin })) {
  const told = [];
  for (const exchanges of JSON.parse(line)) told.push(await read(exchanges));
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
