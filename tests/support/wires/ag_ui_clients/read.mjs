// Reads streams as a page does, with one of the clients: `node read.mjs agui1 FOLDER`.
//
// Input: lines, each a list of lists of exchanges. An exchange has a `stream`, a list of pieces of
// bytes in base64, and may have `answers`, tool messages that the page adds before its request, and
// a `resume`. One agent reads all exchanges of a list. Output for each list: the messages, the
// requests, the starts and ends of runs, the failures and the complaints.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/.`);
const { HttpAgent } = await import(pathToFileURL(require.resolve(name)));
const complaints = [];
for (const level of ["warn", "error"]) console[level] = (...words) => complaints.push(words.join(" "));

const body = (pieces) =>
  new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new Uint8Array(Buffer.from(piece, "base64")));
      controller.close();
    },
  });

async function read(exchanges) {
  let pieces;
  const requests = [];
  complaints.length = 0;
  const agent = new HttpAgent({
    url: "http://127.0.0.1/agui",
    threadId: "thread_1",
    initialMessages: [{ id: "mine", role: "user", content: "hello" }],
    fetch: async (_, { body: requestBody }) => {
      requests.push(JSON.parse(requestBody));
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
      // An agent sends no request while it has an open question.
      const dropped = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: "cancelled" }));
      await agent.runAgent({ resume: resume ?? dropped });
    } catch (error) {
      failures.push(String(error.message ?? error));
    }
  }
  return { messages: agent.messages, asked: requests, runs, failures, complaints: [...complaints] };
}

for await (const line of createInterface({ input: process.stdin })) {
  const results = [];
  for (const exchanges of JSON.parse(line)) results.push(await read(exchanges));
  process.stdout.write(`${JSON.stringify(results)}\n`);
}
