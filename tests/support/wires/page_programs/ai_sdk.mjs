// A page with `useChat`, without React: `node ai_sdk.mjs NAME FOLDER`; FOLDER has the `page.mjs` of the
// documentation.
//
// Input: for each chat a line with `id`, `server`, `origin`, `token` and `doings`: `["send", text]`,
// `["approve", approved]`, `["resume"]`. Output: the messages, the calls that the page ran, the
// chat's status and error, and the requests.

import { createInterface } from "node:readline";
import { openPage } from "./browser.mjs";

const [, folder] = process.argv.slice(2);
const { AbstractChat } = await import(`${folder}/node_modules/ai/dist/index.mjs`).catch(() =>
  import(`${folder}/node_modules/ai/dist/index.js`),
);

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, message));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {}

let pages = 0;

async function play({ id, doings, messages, ...pageOptions }) {
  const page = openPage(pageOptions);
  const { options, runTool } = await import(`${folder}/page.mjs?${(pages += 1)}`);
  const state = new State();
  state.messages = messages ?? [];
  const ran = [];
  const chat = new Chat({
    ...options,
    id,
    state,
    async onToolCall({ toolCall }) {
      if (toolCall.dynamic) return;
      ran.push(toolCall.toolName);
      const { toolName: tool, toolCallId } = toolCall;
      const output = await runTool(toolCall);
      (chat.addToolOutput ?? chat.addToolResult)({ tool, toolCallId, output });
    },
  });

  // Nothing else waits for requests that the chat sends by itself.
  const waitUntilIdle = async () => {
    let quiet = 0;
    while (quiet < 20) {
      await new Promise((resolve) => setImmediate(resolve));
      const busy = state.status === "submitted" || state.status === "streaming";
      quiet = busy ? 0 : quiet + 1;
    }
  };

  for (const [action, argument] of doings) {
    if (action === "send") await chat.sendMessage({ text: argument });
    if (action === "resume") await chat.resumeStream();
    if (action === "approve") {
      const isWaiting = ({ state }) => state === "approval-requested";
      const call = state.messages.at(-1).parts.findLast(isWaiting);
      await chat.addToolApprovalResponse({ id: call.approval.id, approved: argument });
    }
    await waitUntilIdle();
  }
  page.close();
  const error = state.error ? String(state.error.message) : null;
  return { messages: state.messages, ran, status: state.status, error, asked: page.asked };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
