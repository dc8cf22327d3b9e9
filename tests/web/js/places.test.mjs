import assert from "node:assert/strict";
import test from "node:test";

const CHAT = "../../../src/antiphon/web/static/chat";
const { countPlaces, fillAlike, findPlaces, nextPlace } = await import(`${CHAT}/places.mjs`);

const TEXT = "From {{ city }} to {{other city}}, and back to {{city}}.";

test("a place is a short name between two braces on one line", () => {
  assert.deepEqual(findPlaces(TEXT).map(({ name }) => name), ["city", "other city", "city"]);
  assert.deepEqual(findPlaces("{x} {{}} {{a\nb}} {{{}}} {{ }}"), []);
  assert.deepEqual(findPlaces("a{{x}}"), [{ name: "x", start: 1, end: 6 }]);
  assert.equal(countPlaces(TEXT), 2);
});

test("text written at a place fills all places of its name, also with signs of a pattern", () => {
  const written = TEXT.replace("{{ city }}", () => "$& {{x}}");
  const filled = fillAlike(written, "city", 5, 13);
  assert.equal(filled.text, "From $& {{x}} to {{other city}}, and back to $& {{x}}.");
  assert.equal(filled.text.slice(5, filled.end), "$& {{x}}");
  const last = "{{city}}, {{city}}: Rome";
  const back = fillAlike(last, "city", 20, 24);
  assert.deepEqual(back, { text: "Rome, Rome: Rome", end: 16 });
});

test("the next place is behind a position, or the first; the one before it, or the last", () => {
  assert.equal(nextPlace(TEXT, 6)?.name, "other city");
  assert.equal(nextPlace(TEXT, TEXT.length)?.start, 5);
  assert.equal(nextPlace(TEXT, 20, true)?.start, 5);
  assert.equal(nextPlace(TEXT, 3, true)?.start, TEXT.indexOf("{{city}}"));
  assert.equal(nextPlace("none", 0), null);
});

test("another person who logs in on the page does not see the prompts of the one before", async () => {
  const { loadPrompts, prompts } = await import(`${CHAT}/prompts.mjs`);
  const { me } = await import(`${CHAT}/store.mjs`);
  me.value = { person: { id: "ann" } };
  globalThis.fetch = async () => Response.json({ data: [{ name: "own", text: "x", starter: false }], version: "file_1" });
  await loadPrompts();
  assert.deepEqual(prompts.value.map(({ name }) => name), ["own"]);
  me.value = { person: { id: "bob" } };
  assert.equal(prompts.value, null);
});

test("a prompt whose name begins with what is typed stands before one that holds it", async () => {
  const { findPrompts } = await import(`${CHAT}/prompts.mjs`);
  const all = ["retell", "tell", "other"].map((name) => ({ name, text: "", starter: false }));
  assert.deepEqual(findPrompts(all, "TELL").map(({ name }) => name), ["tell", "retell"]);
  assert.equal(findPrompts(all, "").length, 3);
});
