import assert from "node:assert/strict";
import { test } from "node:test";

import { normalAddress, webSourcesOf } from "../../../src/antiphon/web/static/chat/web_sources.mjs";

const tool = (output, state = "output-available") => ({ type: "dynamic-tool", state, output });
const text = (words) => ({ type: "text", text: words });

test("the links of an answer that a tool has found are its sources, in the answer's order", () => {
  const found = { results: [{ url: "https://a.example/1", title: "One" }, { link: "https://b.example/", name: "Two" }, { url: "https://c.example/", title: "Three" }] };
  const words = "See [this](https://b.example/) and https://a.example/1. Again: https://b.example/";

  assert.deepEqual(webSourcesOf([tool(JSON.stringify(found)), text(words)]), [
    { url: "https://b.example/", title: "Two" },
    { url: "https://a.example/1", title: "One" },
  ]);
});

test("pages that the provider cites come first, in the order of its list, each once", () => {
  const cite = (url, title) => ({ type: "source-url", url, title });
  const found = tool(JSON.stringify([{ url: "https://b.example/", title: "Two" }, { url: "https://c.example/", title: "Three" }]));
  const parts = [cite("https://a.example", ""), cite("https://b.example/", "Two"), cite("https://a.example/", "One"), cite("javascript:alert(1)", "x"), cite(7)];

  assert.deepEqual(webSourcesOf(parts), [
    { url: "https://a.example/", title: "One", cited: true },
    { url: "https://b.example/", title: "Two", cited: true },
  ]);
  assert.deepEqual(webSourcesOf([found, text("https://c.example/ https://b.example/"), ...parts]).map(({ url }) => url), [
    "https://a.example/",
    "https://b.example/",
    "https://c.example/",
  ]);
});

test("titles are found in plain text and in Markdown too", () => {
  const plain = "Title: The sea\nURL: https://a.example/sea\n\n- [The moon](https://a.example/moon)";
  const words = "https://a.example/sea, https://a.example/moon";

  assert.deepEqual(webSourcesOf([tool(plain), text(words)]).map(({ title }) => title), ["The sea", "The moon"]);
});

test("an address that no tool has found is no source, and neither is one of a failed tool", () => {
  const part = text("https://a.example/ https://b.example/");

  assert.deepEqual(webSourcesOf([part]), []);
  assert.deepEqual(webSourcesOf([tool("https://a.example/", "output-error"), part]), []);
  assert.deepEqual(webSourcesOf([tool("https://a.example/"), text("no links")]), []);
});

test("only addresses of the web are sources", () => {
  const hostile = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://", "ftp://a.example"];

  for (const url of hostile) {
    assert.equal(normalAddress(url), "");
    assert.deepEqual(webSourcesOf([tool(JSON.stringify({ url, title: "x" })), text(`[x](${url}) http`)]), []);
  }
});

test("an address ends where its sentence goes on", () => {
  assert.equal(normalAddress("https://a.example/x)."), "https://a.example/x");
  assert.equal(normalAddress("https://a.example/x_(y)"), "https://a.example/x_(y)");
});

test("hostile results end soon and change nothing", () => {
  const deep = "[".repeat(5000) + "]".repeat(5000);
  const polluted = '{"__proto__": {"url": "https://a.example/"}, "constructor": {"url": 1}}';
  const many = JSON.stringify(Array.from({ length: 5000 }, (_, n) => ({ url: `https://a.example/${n}` })));

  for (const output of [deep, polluted, many, "http".repeat(50_000), "[a](".repeat(50_000)]) {
    const begun = performance.now();
    webSourcesOf([tool(output), text("https://a.example/")]);
    assert.ok(performance.now() - begun < 10_000);
  }
  assert.equal({}.url, undefined);
});
