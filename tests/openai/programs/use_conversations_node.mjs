// Use conversations, their items, and files as openai-node does.
//
//     node use_conversations_node.mjs http://127.0.0.1:8000/openai/v1
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const { items } = client.conversations;

const conversation = await client.conversations.create({
  metadata: { topic: "bees" },
  items: [{ role: "user", content: "Hello, you" }],
});
const updated = await client.conversations.update(conversation.id, {
  metadata: { topic: "cows" },
});
assert.deepEqual(updated, { ...conversation, metadata: { topic: "cows" } });

const addedItems = await items.create(conversation.id, {
  items: [
    { type: "function_call", call_id: "c1", name: "look", arguments: "{}" },
    { type: "function_call_output", call_id: "c1", output: "found" },
    { role: "assistant", content: "Here." },
  ],
});
const listedItems = [];
for await (const item of items.list(conversation.id, { order: "asc", limit: 2 })) {
  listedItems.push(item);
}
assert.deepEqual(listedItems.slice(1), addedItems.data);
const { id } = listedItems.at(-1);
const parent = { conversation_id: conversation.id };
assert.deepEqual(await items.retrieve(id, parent), listedItems.at(-1));
await items.delete(id, parent);
await assert.rejects(items.retrieve(id, parent), OpenAI.NotFoundError);

const answer = await client.responses.create({
  model: "demo",
  conversation: conversation.id,
  input: "Hello, you",
});
const [newest] = (await items.list(conversation.id, { limit: 1 })).data;
assert.deepEqual(newest, answer.output.at(-1));
assert.equal((await client.conversations.delete(conversation.id)).deleted, true);

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
