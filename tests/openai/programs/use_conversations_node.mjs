// Use conversations, their items, and files as openai-node does.
//
//     node use_conversations_node.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const { items } = client.conversations;

const made = await client.conversations.create({
  metadata: { topic: "bees" },
  items: [{ role: "user", content: "Hello, you" }],
});
const changed = await client.conversations.update(made.id, { metadata: { topic: "cows" } });
assert.deepEqual(changed, { ...made, metadata: { topic: "cows" } });

const added = await items.create(made.id, {
  items: [
    { type: "function_call", call_id: "c1", name: "look", arguments: "{}" },
    { type: "function_call_output", call_id: "c1", output: "found" },
    { role: "assistant", content: "Here." },
  ],
});
const listed = [];
for await (const item of items.list(made.id, { order: "asc", limit: 2 })) listed.push(item);
assert.deepEqual(listed.slice(1), added.data);
const { id } = listed.at(-1);
assert.deepEqual(await items.retrieve(id, { conversation_id: made.id }), listed.at(-1));
await items.delete(id, { conversation_id: made.id });
await assert.rejects(items.retrieve(id, { conversation_id: made.id }), OpenAI.NotFoundError);

const answer = await client.responses.create({
  model: "demo",
  conversation: made.id,
  input: "Hello, you",
});
const [newest] = (await items.list(made.id, { limit: 1 })).data;
assert.deepEqual(newest, answer.output.at(-1));
assert.equal((await client.conversations.delete(made.id)).deleted, true);

const file = await client.files.create({
  file: await toFile(Buffer.from("old pond"), "haiku.txt"),
  purpose: "user_data",
  expires_after: { anchor: "created_at", seconds: 3600 },
});
assert.equal(file.expires_at, file.created_at + 3600);
assert.equal(await (await client.files.content(file.id)).text(), "old pond");
const names = [];
for await (const each of client.files.list({ purpose: "user_data" })) names.push(each.filename);
assert.deepEqual(names, ["haiku.txt"]);
assert.equal((await client.files.delete(file.id)).deleted, true);
console.log("used");
