// Use Chat Completions as the AI SDK does, with both of its providers.
//
//     node use_ai_sdk.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL] = process.argv.slice(2);
const pixel = Buffer.from("R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=", "base64");
const weather = tool({
  description: "Weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city}: rain`,
});
const compatible = createOpenAICompatible({
  name: "antiphon",
  baseURL,
  apiKey: "none",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL, apiKey: "none" });

for (const [provider, hasReasoning] of [[compatible, true], [openai.chat, false]]) {
  const model = provider("demo");

  const stream = streamText({
    model,
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
  assert.equal(Boolean(await stream.reasoningText), hasReasoning);

  const schema = z.object({ city: z.string() });
  const typedAnswer = await generateText({
    model,
    output: Output.object({ schema }),
    prompt: "Weather in Oslo",
  });
  assert.deepEqual(typedAnswer.output, { city: "Oslo" });

  const content = [
    { type: "text", text: "Look at this" },
    { type: "file", mediaType: "image/gif", data: pixel },
  ];
  const pictureAnswer = await generateText({ model, messages: [{ role: "user", content }] });
  assert.match(pictureAnswer.text, /Look at this/);

  await assert.rejects(
    generateText({ model: provider("nothing:here"), prompt: "Hello", maxRetries: 0 }),
    (error) => APICallError.isInstance(error) && error.statusCode === 404,
  );
}
console.log("used");
