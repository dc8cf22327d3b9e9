// Chats as `useChat` runs them, without React: `node chat.mjs ai6 FOLDER`.
//
// In: for each chat a line with `{replies, doings}`. A reply is what the server streams, in base64, one to a request; a doing
// is `["send", text]`, `["approve", id, approved]`, without an id the last one that waits,
// `["regenerate"]` or `["resume"]`. In place of replies there may be a `server`, its `url`, `cookie`
// and a `query` for each request. Out: the messages, the chat's status and error, and what each
// request asked.

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
  const asked = [];
  const state = new State();

  async function fetch(url, { method, body, headers }) {
    asked.push({ method, url, ...(body ? JSON.parse(body) : {}) });
    if (server) {
      const target = server.url + new URL(url).pathname + server.query;
      const own = { ...headers, cookie: server.cookie, origin: server.url };
      return globalThis.fetch(target, { method, body, headers: own });
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

  // An approval is answered by a request of its own, which nothing waits for.
  const rest = async () => {
    do await new Promise((resolve) => setImmediate(resolve));
    while (state.status === "submitted" || state.status === "streaming");
  };

  for (const [what, ...about] of doings) {
    if (what === "send") await chat.sendMessage({ text: about[0] });
    if (what === "resume") await chat.resumeStream();
    if (what === "regenerate") await chat.regenerate();
    if (what === "approve") {
      const [id, approved] = about;
      const waits = ({ state }) => state === "approval-requested";
      const last = state.messages.at(-1).parts.findLast(waits);
      await chat.addToolApprovalResponse({ id: id ?? last.approval.id, approved });
    }
    await rest();
  }
  const error = state.error && String(state.error.message);
  return { messages: state.messages, status: state.status, error, asked };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
