// A page with CopilotKit, without React: `node copilotkit.mjs NAME FOLDER`.
//
// Input: for each chat a line with `id`, `server`, `origin`, `token`, `tools` (names and outputs) and
// `texts`. Output: the messages, the calls that the page ran, and the number of requests.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { openPage } from "./browser.mjs";

const [, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/.`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { CopilotKitCore } = await load("@copilotkit/core");
const { HttpAgent } = await load("@ag-ui/client");

async function play({ id, tools, texts, ...pageOptions }) {
  const page = openPage(pageOptions);
  const ran = [];
  const agent = new HttpAgent({
    url: `${pageOptions.server}/ag-ui/v1/run`,
    threadId: id,
    headers: { Authorization: `Bearer ${pageOptions.token.token}` },
  });
  const core = new CopilotKitCore({ agents__unsafe_dev_only: { default: agent } });
  for (const [name, output] of Object.entries(tools)) {
    const handler = async () => {
      ran.push(name);
      return output;
    };
    core.addTool({ name, handler });
  }
  const registered = core.getAgent("default");
  for (const content of texts) {
    registered.addMessage({ id: crypto.randomUUID(), role: "user", content });
    await core.runAgent({ agent: registered });
  }
  page.close();
  return { messages: registered.messages, ran, asked: page.asked.length };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
