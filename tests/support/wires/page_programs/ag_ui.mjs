// A page with `HttpAgent`: `node ag_ui.mjs NAME FOLDER`; FOLDER has the `page.mjs` of the documentation.
//
// Input: for each chat a line with `id`, `server`, `origin`, `token` and `texts`. Output: the answer
// to each text, the messages, and the number of requests.

import { createInterface } from "node:readline";
import { openPage } from "./browser.mjs";

const [, folder] = process.argv.slice(2);
const { ask, openAgent } = await import(`${folder}/page.mjs`);
const complaints = [];
for (const level of ["warn", "error"]) console[level] = (...words) => complaints.push(words.join(" "));

async function play({ id, texts, ...pageOptions }) {
  const page = openPage(pageOptions);
  complaints.length = 0;
  const agent = await openAgent(id);
  const answers = [];
  let error;
  try {
    for (const text of texts) answers.push(await ask(agent, text));
  } catch (raised) {
    error = String(raised.message ?? raised);
  }
  page.close();
  return { answers, messages: agent.messages, asked: page.asked.length, error, complaints };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
