// Search the web as the AI SDK does, by the hosted tool that an MCP server stands for.
//
//     node use_ai_sdk_search.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { streamText } from "ai";

const [baseURL] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey: "none" });
const stream = streamText({
  model: openai("demo"),
  tools: { web_search: openai.tools.webSearch({}) },
  prompt: "Use far__look",
});
const types = [];
for await (const part of stream.fullStream) types.push(part.type);
assert.ok(!types.includes("error"), types.join(" "));
assert.ok(types.includes("tool-call") && types.includes("tool-result"), types.join(" "));
assert.match(await stream.text, /https:\/\/bees\.example\/a/);
assert.deepEqual((await stream.sources).map((source) => source.url), ["https://bees.example/a"]);
console.log("used");
