// Use Responses as openai-node does.
//
//     node use_responses_node.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "demo";
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", name: "weather", parameters: city, strict: false }];

const response = await client.responses.create({ model, input: "Hello, you" });
assert.match(response.output_text, /Hello, you/);
const stream = client.responses.stream({ model, input: "Hello, you" });
const streamedResponse = await stream.finalResponse();
assert.equal(streamedResponse.output_text, response.output_text);
const resumedStream = client.responses.stream({
  response_id: streamedResponse.id,
  starting_after: 1,
});
assert.equal((await resumedStream.finalResponse()).output_text, response.output_text);

const both = "The weather in Oslo and Paris, both at once";
const callResponse = await client.responses.create({ model, input: both, tools });
const calls = callResponse.output.filter((item) => item.type === "function_call");
assert.equal(calls.length, 2);
const answer = await client.responses.create({
  model,
  tools,
  previous_response_id: callResponse.id,
  input: calls.map((call, number) => ({
    type: "function_call_output",
    call_id: call.call_id,
    output: `rain ${number}`,
  })),
});
assert.match(answer.output_text, /rain 0[^]*rain 1/);

const parsedResponse = await client.responses.parse({
  model,
  input: "Weather in Oslo",
  text: { format: zodTextFormat(z.object({ city: z.string() }), "weather") },
});
assert.deepEqual(parsedResponse.output_parsed, { city: "Oslo" });

await client.responses.delete(answer.id);
await assert.rejects(client.responses.retrieve(answer.id), OpenAI.NotFoundError);
console.log("used");
