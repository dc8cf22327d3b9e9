// Chats as `useChat` runs them, without React: `node chat.mjs ai6 FOLDER`.
//
// Input: for each chat a line with `{replies, doings}`. A reply is the server's stream in base64, one
// for each request. A doing is `["send", text]`, `["approve", id, approved]` (without an id for the
// last waiting approval), `["regenerate"]` or `["resume"]`. Instead of replies there may be a
// `server` with `url`, `cookie` and a `query` for each request. Output: the messages, the chat's
// status and error, and the requests.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/.`);
const ai = await import(pathToFileURL(require.resolve(name)));

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, message));
  snapshot = (value) => structuredClone(value);
}

class Chat extends ai.AbstractChat {}

async function play({ replies, doings, server }) {
  const requests = [];
  const state = new State();

  async function fetch(url, { method, body, headers }) {
    requests.push({ method, url, ...(body ? JSON.parse(body) : {}) });
    if (server) {
      const target = server.url + new URL(url).pathname + server.query;
      const ownHeaders = { ...headers, cookie: server.cookie, origin: server.url };
      return globalThis.fetch(target, { method, body, headers: ownHeaders });
    }
    const reply = replies.shift();
    return reply == null
      ? new Response(null, { status: 204 })
      : new Response(new Blob([Buffer.from(reply, "base64")]).stream());
  }

  const chat = new Chat({
    id: server ? "a chat of mine" : "thread_1",
    state,
    transport: new ai.DefaultChatTransport({ api: "http://127.0.0.1/api/messages/process", fetch }),
    sendAutomaticallyWhen: ai.lastAssistantMessageIsCompleteWithApprovalResponses,
  });

  // Nothing else waits for the request with the answer to an approval.
  const waitUntilIdle = async () => {
    do await new Promise((resolve) => setImmediate(resolve));
    while (state.status === "submitted" || state.status === "streaming");
  };

  for (const [action, ...args] of doings) {
    if (action === "send") await chat.sendMessage({ text: args[0] });
    if (action === "resume") await chat.resumeStream();
    if (action === "regenerate") await chat.regenerate();
    if (action === "approve") {
      const [id, approved] = args;
      const isWaiting = ({ state }) => state === "approval-requested";
      const last = state.messages.at(-1).parts.findLast(isWaiting);
      await chat.addToolApprovalResponse({ id: id ?? last.approval.id, approved });
    }
    await waitUntilIdle();
  }
  const error = state.error && String(state.error.message);
  return { messages: state.messages, status: state.status, error, asked: requests };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
