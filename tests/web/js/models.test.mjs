import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseGroup, chooseTool, countChosen, groupTools, searchTools } from "../../../src/antiphon/web/static/chat/tool_groups.mjs";
import { findModels, nameOf } from "../../../src/antiphon/web/static/chat/models.mjs";

const MODELS = ["openai:gpt-5", "mistral:large", "openai:gpt-5-mini"].map((id) => ({ id, provider: id.split(":")[0], default: false, context_tokens: null, lacks: [] }));
const ids = (models) => models.map(({ id }) => id);

test("models of one provider stand together, and every word of a search is in the name or the provider", () => {
  assert.deepEqual(ids(findModels(MODELS, "")), ["openai:gpt-5", "openai:gpt-5-mini", "mistral:large"]);
  assert.deepEqual(ids(findModels(MODELS, " MINI  open")), ["openai:gpt-5-mini"]);
  assert.deepEqual(findModels(MODELS, "mini mistral"), []);
});

test("a name is shown without its provider", () => {
  assert.equal(nameOf(MODELS[0]), "gpt-5");
  assert.equal(nameOf({ id: "gpt-5", provider: "127.0.0.1" }), "gpt-5");
});

const TOOLS = [
  { name: "calculate", description: "Work out a sum", server: null },
  { name: "far__read", description: "Read a file", server: "far" },
  { name: "far__write", description: "Write a file", server: "far" },
];
const select = (names = [], servers = []) => ({ names: new Set(names), servers: new Set(servers) });
const lists = ({ names, servers }) => [[...names].sort(), [...servers].sort()];

test("tools stand under their server, and chosen ones that are missing stand last", () => {
  const groups = groupTools(TOOLS, ["near"], select(["lost"], ["away"]));
  assert.deepEqual(groups.map(({ server, known, tools }) => [server, known, tools.length]), [
    [null, true, 1],
    ["far", true, 2],
    ["near", true, 0],
    ["away", false, 0],
    [null, false, 1],
  ]);
});

test("a search finds tools by name, description and server", () => {
  const groups = groupTools(TOOLS, [], select());
  assert.deepEqual(searchTools(groups, "file READ").flatMap(({ tools }) => tools.map(({ name }) => name)), ["far__read"]);
  assert.deepEqual(searchTools(groups, "far").flatMap(({ tools }) => tools).length, 2);
  assert.deepEqual(searchTools(groups, "nothing"), []);
});

test("choosing all tools of a server chooses the server, and without one tool the others", () => {
  const [own, far] = groupTools(TOOLS, [], select());
  const all = chooseGroup(far, true, select(["far__read", "calculate"]));
  assert.deepEqual(lists(all), [["calculate"], ["far"]]);
  assert.equal(countChosen(far, all), 2);
  assert.deepEqual(lists(chooseTool(far, "far__read", false, all)), [["calculate", "far__write"], []]);
  assert.deepEqual(lists(chooseGroup(far, false, all)), [["calculate"], []]);
  assert.deepEqual(lists(chooseGroup(own, false, all)), [[], ["far"]]);
  assert.deepEqual(lists(chooseTool(far, "far__write", true, select(["far__read"]))), [["far__read", "far__write"], []]);
});
