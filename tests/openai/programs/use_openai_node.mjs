// Use Chat Completions as openai-node does.
//
//     node use_openai_node.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "demo";
const hello = [{ role: "user", content: "Hello, you" }];
const both = [{ role: "user", content: "The weather in Oslo and Paris, both at once" }];
const weather = z.object({ city: z.string(), degrees: z.number() });
const tools = [zodFunction({ name: "weather", parameters: weather })];

const models = [];
for await (const each of client.models.list()) models.push(each.id);
assert.ok(models.includes("demo"));

const completion = await client.chat.completions.create({ model, messages: hello });
const stream = client.chat.completions.stream({
  model,
  messages: hello,
  stream_options: { include_usage: true },
});
const streamedCompletion = await stream.finalChatCompletion();
assert.equal(streamedCompletion.choices[0].message.content, completion.choices[0].message.content);
assert.deepEqual(streamedCompletion.usage, completion.usage);

const parsedCompletion = await client.chat.completions.parse({
  model,
  messages: hello,
  response_format: zodResponseFormat(weather, "weather"),
});
assert.equal(typeof parsedCompletion.choices[0].message.parsed.city, "string");

const callStream = client.chat.completions.stream({ model, messages: both, tools });
const message = (await callStream.finalChatCompletion()).choices[0].message;
const cities = message.tool_calls.map((call) => call.function.parsed_arguments.city);
assert.deepEqual(cities, ["Oslo", "Paris"]);
const outputs = message.tool_calls.map((call, number) => ({
  role: "tool",
  tool_call_id: call.id,
  content: `rain ${number}`,
}));
const answer = await client.chat.completions.create({
  model,
  messages: [...both, message, ...outputs],
});
assert.match(answer.choices[0].message.content, /rain 0[^]*rain 1/);

await assert.rejects(
  client.chat.completions.create({ model, messages: hello, n: 2 }),
  (error) => error instanceof OpenAI.BadRequestError && error.param === "n",
);
await assert.rejects(client.models.retrieve("nothing"), OpenAI.NotFoundError);

const long = [{ role: "user", content: "100000 words" }];
const longStream = await client.chat.completions.create({ model, messages: long, stream: true });
for await (const chunk of longStream) if (chunk.choices[0]?.delta?.content) break;

const threads = baseURL.replace("/openai/v1", "/v1/threads");
const { id: threadId } = await client.post(threads, { body: {} });
const headers = { "Antiphon-Thread": threadId };
const threadRequest = client.chat.completions.create({ model, messages: hello }, { headers });
const { response } = await threadRequest.withResponse();
assert.equal(response.headers.get("antiphon-thread"), threadId);
console.log("used");
