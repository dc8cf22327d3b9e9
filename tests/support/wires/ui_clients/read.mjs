// Reads streams as `useChat` does, with one of the clients: `node read.mjs ai5 FOLDER`.
//
// Input: lines, each a list of lists of streams. A stream is a list of pieces of bytes in base64; the
// streams of a list follow each other, as when a page resumes. Output for each list: the message and
// the complaints.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/.`);
const { DefaultChatTransport, readUIMessageStream } = await import(pathToFileURL(require.resolve(name)));

const body = (pieces) =>
  new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new Uint8Array(Buffer.from(piece, "base64")));
      controller.close();
    },
  });

async function read(streams) {
  let message;
  const complaints = [];
  for (const pieces of streams) {
    const transport = new DefaultChatTransport({
      api: "http://127.0.0.1/chat",
      fetch: async () => new Response(body(pieces)),
    });
    const stream = await transport.sendMessages({
      trigger: "submit-message",
      chatId: "chat",
      messageId: undefined,
      messages: [],
      abortSignal: undefined,
    });
    const onError = (error) => complaints.push(String(error.message ?? error));
    // A copy: the client modifies the message that it gets.
    const before = message && structuredClone(message);
    for await (const state of readUIMessageStream({ message: before, stream, onError })) {
      message = state;
    }
  }
  return { message, complaints };
}

for await (const line of createInterface({ input: process.stdin })) {
  const results = [];
  for (const streams of JSON.parse(line)) results.push(await read(streams));
  process.stdout.write(`${JSON.stringify(results)}\n`);
}
