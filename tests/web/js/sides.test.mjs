/** Modules beside the conversation that need no page: days, sums, texts, colours. */
import assert from "node:assert/strict";
import test from "node:test";

const CHAT = "../../../src/antiphon/web/static/chat";
const { groupByDay, keyOf } = await import(`${CHAT}/day_groups.mjs`);
const { sumByDay, rank, sum } = await import(`${CHAT}/usage_sums.mjs`);
const { tCount, setMessages, spokenLanguage, t } = await import(`${CHAT}/t.mjs`);
const { resolveTheme } = await import(`${CHAT}/theme.mjs`);
const { total } = await import(`${CHAT}/usage.mjs`);

const NOON = new Date(2026, 10, 21, 12);
const at = (...moment) => ({ updated_at: new Date(...moment).getTime() });

test("threads stand under the days of the reader, newest first", () => {
  const groups = groupByDay(
    [at(2026, 10, 21, 0), at(2026, 10, 20, 23, 59), at(2026, 10, 14), at(2026, 9, 25), at(2026, 9, 20), at(2026, 9, 1), at(2025, 9, 1)],
    NOON,
  );

  assert.deepEqual(
    groups.map(({ day, items }) => [keyOf(day), items.length]),
    [["today", 1], ["yesterday", 1], ["week", 1], ["month", 1], ["2026-9", 2], ["2025-9", 1]],
  );
});

test("a thread with a time in the future is of today", () => {
  const [{ day }] = groupByDay([at(2026, 10, 22, 3)], NOON);

  assert.deepEqual(day, { name: "today" });
});

const row = (day, model, person, tokens, cost) => ({ day, model, person, runs: 1, input_tokens: tokens, output_tokens: 0, cost });
const ROWS = [row("2026-11-21", "a", "ada", 5, 0.5), row("2026-11-21", "b", "bo", 7, null), row("2026-11-19", "b", "ada", 1, 0.25)];

test("a chart has a bar for each day, days without use among them", () => {
  const bars = sumByDay(ROWS, "tokens", 4, new Date("2026-11-21T01:00:00Z"));

  assert.deepEqual(bars, [
    { day: "2026-11-18", amount: 0 },
    { day: "2026-11-19", amount: 1 },
    { day: "2026-11-20", amount: 0 },
    { day: "2026-11-21", amount: 12 },
  ]);
});

test("the largest amount stands first, and an unknown cost counts as zero", () => {
  assert.deepEqual(rank(ROWS, "model", "tokens").map(({ name }) => name), ["b", "a"]);
  assert.deepEqual(rank(ROWS, "person", "cost"), [{ name: "ada", amount: 0.75 }, { name: "bo", amount: 0 }]);
  assert.equal(sum(ROWS, "runs"), 3);
});

test("a thread costs what its answers cost, where all of them are known", () => {
  const usage = { inputTokens: 2, outputTokens: 3, cachedTokens: 1, reasoningTokens: 0 };

  assert.deepEqual(total([{ usage, cost: 1 }, undefined, {}, { usage, cost: 2 }]), {
    usage: { inputTokens: 4, outputTokens: 6, cachedTokens: 2, reasoningTokens: 0 },
    cost: 3,
  });
  assert.equal(total([{ usage, cost: 1 }, { usage, cost: null }]).cost, null);
  assert.equal(total([]).cost, null);
});

test("placeholders are filled with their values, as text and once", () => {
  setMessages("en", { "x.y": "{a} and {b} and {c}", "n.one": "{count} thing", "n.other": "{count} things" });

  assert.equal(t("x.y", { a: "{b}", b: 2 }), "{b} and 2 and {c}");
  assert.equal(t("x.unknown"), "x.unknown");
  assert.equal(tCount("n", 1), "1 thing");
  assert.equal(tCount("n", 1200), "1,200 things");
});

test("the language is the chosen one, else the first of the browser's that there is", () => {
  assert.equal(spokenLanguage("es", ["de"]), "es");
  assert.equal(spokenLanguage("auto", ["fr-CH", "de-AT", "en"]), "de");
  assert.equal(spokenLanguage("auto", ["fr"]), "en");
  assert.equal(spokenLanguage("../../etc", []), "en");
});

test("colours follow the system until some are chosen", () => {
  assert.equal(resolveTheme("auto", { dark: true, contrast: false }), "dark");
  assert.equal(resolveTheme("auto", { dark: true, contrast: true }), "contrast");
  assert.equal(resolveTheme("light", { dark: true, contrast: true }), "light");
  assert.equal(resolveTheme("something old", { dark: false, contrast: false }), "light");
});
