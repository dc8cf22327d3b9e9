// Use Responses as the AI SDK does: it is what `createOpenAI` uses by default.
//
//     node use_ai_sdk_responses.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey: "none" });
const pixel = Buffer.from("R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=", "base64");
const weather = tool({
  description: "Weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city}: rain`,
});

for (const options of [{}, { store: false }]) {
  const stream = streamText({
    model: openai("demo"),
    providerOptions: { openai: options },
    tools: { weather },
    stopWhen: isStepCount(3),
    prompt: "The weather in Oslo and Paris, both at once",
  });
  let text = "";
  for await (const delta of stream.textStream) text += delta;
  assert.match(text, /Oslo: rain[^]*Paris: rain/);
  const steps = await stream.steps;
  assert.deepEqual(steps.map((step) => step.finishReason), ["tool-calls", "stop"]);
  assert.deepEqual(steps[0].toolCalls.map((call) => call.input.city), ["Oslo", "Paris"]);
  assert.ok((await stream.totalUsage).totalTokens > 0);
}

const first = await generateText({ model: openai("demo"), prompt: "Hello, you" });
const previousResponseId = first.providerMetadata.openai.responseId;
const more = await generateText({
  model: openai("demo"),
  prompt: "5 words",
  providerOptions: { openai: { previousResponseId } },
});
assert.equal(more.text.split(" ").length, 5);

const typedAnswer = await generateText({
  model: openai("demo"),
  output: Output.object({ schema: z.object({ city: z.string() }) }),
  prompt: "Weather in Oslo",
});
assert.deepEqual(typedAnswer.output, { city: "Oslo" });

const content = [
  { type: "text", text: "Look at this" },
  { type: "file", mediaType: "image/gif", data: pixel },
];
const pictureAnswer = await generateText({
  model: openai("demo"),
  messages: [{ role: "user", content }],
});
assert.match(pictureAnswer.text, /Look at this/);
console.log("used");
