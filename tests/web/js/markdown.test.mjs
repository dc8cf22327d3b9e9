import assert from "node:assert/strict";
import { test } from "node:test";

import { blocksOf, isShown, languageOf, markupOf } from "../../../src/antiphon/web/static/chat/markdown/grammar.mjs";
import { NOTHING_YET, isContinuation, parseGrownText, normalizeNewlines } from "../../../src/antiphon/web/static/chat/markdown/incremental.mjs";
import { unnamedDestination, webAddress } from "../../../src/antiphon/web/static/chat/markdown/links.mjs";

const markup = (/** @type {string} */ text) => blocksOf(text).blocks.filter(isShown).map(markupOf).join("\n");
const formulas = (/** @type {string} */ text) =>
  [...markup(text).matchAll(/<code class="maths( display)?">(.*?)<\/code>/gs)].map(([, display, tex]) => (display ? `[${tex}]` : tex));

/** Return the settled and the open blocks after a text came in these pieces. */
function parsePieces(/** @type {string[]} */ pieces) {
  let growth = NOTHING_YET;
  let text = "";
  /** @type {string[]} */
  const settled = [];
  /** @type {import("../../../src/antiphon/web/static/chat/markdown/incremental.mjs").Block[]} */
  let open = [];
  for (const piece of pieces) {
    text += piece;
    const now = parseGrownText(growth, text);
    growth = now.growth;
    settled.push(...now.settled.filter(isShown).map(markupOf));
    open = now.open.filter(isShown);
  }
  return { settled, open: open.map(markupOf), growth };
}

test("formulas are recognized by their marks", () => {
  assert.deepEqual(formulas("a $x^2$ b \\(y\\) c $$z$$ d \\[w\\]"), ["x^2", "y", "[z]", "[w]"]);
  assert.deepEqual(formulas("Hence\n$$\na\n= b\n$$\nwhere\n\\[\nc\n\\]"), ["[a\n= b]", "[c]"]);
  assert.deepEqual(formulas("$a_b$ and $c_d$, *x*"), ["a_b", "c_d"]);
  assert.deepEqual(formulas("- so\n  $$\n  x\n  $$\n"), ["[x]"]);
});

test("money, code, escapes and marks without an end are no formulas", () => {
  for (const text of ["costs $5 and $10", "US$5, A$6", "`$x$`", "\\$x\\$", "$ x $", "$$open\n\ntext$$", "```\n$x$\n```", "$"]) {
    assert.deepEqual(formulas(text), [], text);
  }
});

test("HTML is text, in a line and in a block of its own", () => {
  assert.equal(markup("<b>x</b>"), "<p>&lt;b&gt;x&lt;/b&gt;</p>");
  assert.equal(markup("<div>\n*y*\n</div>"), "<p>&lt;div&gt;\n<em>y</em>\n&lt;/div&gt;</p>");
  assert.equal(markup("<!-- z"), "<p>&lt;!-- z</p>");
});

test("a picture from elsewhere is a link, also as the words of a link", () => {
  assert.equal(markup("![a](https://e.org/p)"), '<p><a href="https://e.org/p">a</a></p>');
  assert.equal(markup("[![a](https://e.org/p)](https://f.org)"), '<p><a href="https://f.org">a</a></p>');
  assert.equal(markup("![a](/api/files/f_1)"), '<p><img src="/api/files/f_1" alt="a"></p>');
});

test("headings begin below those of the page", () => {
  assert.equal(markup("# a\n\n##### b"), "<h3>a</h3>\n<h6>b</h6>");
});

test("a fence may name any language, but only by letters that can be a name", () => {
  assert.equal(languageOf("Python title=x"), "python");
  assert.equal(languageOf("c++"), "c++");
  assert.equal(languageOf('"><img'), "img");
  assert.equal(languageOf(undefined), "");
});

/** Each once took quadratic time or worse in a rule of the library. */
const SLOW_PATTERNS = [
  ...["**a", "_a ", "a_", "~a", "~~a~~ ", "***a ", "a.", "www.a)", "[", "[a](", "[a](<", "![a](b)", "[[a](b)", "[a](b)*", "\\[", "$a", "$$a"],
  ...["\\(", "`a``b", "<a href='", "> ", ">", "- ", "1. ", "- > ", "* \t", "<div>\n", "> a\nb\n", "a\n> b\n", "a | b\n-\n", "|a|\n|-|\n"],
  ...["a\n$$\n", "a\n\\[\n", "a\n# b\n", "- a\n***\n", "a\n=\n", "- [ ] a\n", "[a\n", "[a]: b\n", "a@b.", "\ta", "&a;"],
];

test("a text that no person writes does not slow down the page", () => {
  const texts = SLOW_PATTERNS.map((row) => row.repeat(200_000 / row.length));
  const slow = [...texts, `- ${"a\n".repeat(200_000)}`, `- a\n${"  - b\n".repeat(40_000)}`, `www.a${")".repeat(200_000)}`].filter((text) => {
    const before = process.cpuUsage().user;
    markup(text);
    return process.cpuUsage().user - before > 2_000_000;
  });

  assert.deepEqual(slow.map((text) => text.slice(0, 20)), []);
});

test("a text that would take too long is shown as it was written, and the text after it is parsed", () => {
  const stars = "**a".repeat(15_000);

  assert.ok(markup(`${stars}\n\n**b**`) === `<p>${stars}</p>\n<p><strong>b</strong></p>`);
});

test("more items, cells or paragraphs than anybody draws are shown as they were written", () => {
  for (const [before, row] of [["", "- a\n"], ["", "a\n\n"], ["|a|\n|-|\n", "|a|\n"], ["", "***\n"], ["", "- - a\n"]]) {
    assert.match(markup(before + row.repeat(20)), /<(?:li|p|td|hr)>/);
    assert.match(markup(before + row.repeat(20_000)), /^<p class="plain">[^<]*<\/p>$/);
  }
});

test("a block is settled once a whole line of another one is there", () => {
  assert.deepEqual(parsePieces(["text\n\n", "more"]).settled, []);
  assert.deepEqual(parsePieces(["text\n\nmore\n"]).settled, ["<p>text</p>"]);
  assert.deepEqual(parsePieces(["text\n#"]).settled, []);
  assert.deepEqual(parsePieces(["text\n#foo\n"]).settled, []);
});

test("a list stays open while it may become a loose one", () => {
  assert.deepEqual(parsePieces(["- a\n\n"]).settled, []);
  assert.equal(parsePieces(["- a\n", "\n- b\n", "\ntext\n"]).settled[0], "<ul>\n<li><p>a</p>\n</li>\n<li><p>b</p>\n</li>\n</ul>");
});

test("code without an end is not parsed, and its last line waits until it is complete", () => {
  const code = (/** @type {string[]} */ ...pieces) => parsePieces(pieces).open;

  assert.deepEqual(code("```js\n", "a\n", "b"), ['<pre><code class="language-js">a\nb</code></pre>']);
  assert.deepEqual(code("```js\n", "a\n``"), ['<pre><code class="language-js">a</code></pre>']);
  assert.deepEqual(code("```js\n", "a\n``", " b"), ['<pre><code class="language-js">a\n`` b</code></pre>']);
  assert.deepEqual(parsePieces(["text\n\n~~~\n", "a\n~~~", "\nend\n"]).settled, ["<p>text</p>", '<pre><code class="language-">a</code></pre>']);
});

test("a name that was defined before is known later", () => {
  assert.deepEqual(parsePieces(["[a]: https://e.org\n\ntext\n\n", "[a]"]).open.slice(-1), ['<p><a href="https://e.org">a</a></p>']);
});

test("a text with another beginning is no continuation", () => {
  const { growth } = parsePieces(["text\n\nmore\n"]);

  assert.equal(isContinuation(growth, "text\n\nmore\nand"), true);
  assert.equal(isContinuation(growth, "other"), false);
});

test("lines end alike, whatever the system that wrote them", () => {
  assert.equal(normalizeNewlines("a\r\nb\rc\n"), "a\nb\nc\n");
});

test("a formula that has no end yet is neither a list nor a fence", () => {
  assert.deepEqual(parsePieces(["$$\na\n- b\n"]).open, ['<p class="plain">$$\na\n- b\n</p>']);
  assert.deepEqual(parsePieces(["$$\na\n", "- b\n", "$$\n", "text\n"]).settled, ['<p><code class="maths display">a\n- b</code></p>']);
});

test("however a text is cut, its settled blocks are blocks of the whole text", () => {
  const lines = ["text", "# Head", "- item", "  - sub", "1. one", "> quote", "```", "~~~", "    code", "---", "", "", "| a | b |", "|---|---|", "$$", "\\[", "\\]", "<div>", "$x$", "==="];
  let seed = 11;
  const die = (/** @type {number} */ sides) => ((seed = (seed * 1103515245 + 12345) % 2 ** 31), Math.floor((seed / 2 ** 31) * sides));
  for (let time = 0; time < 1000; time++) {
    const text = Array.from({ length: 1 + die(12) }, () => lines[die(lines.length)]).join("\n");
    const pieces = text.match(new RegExp(`[^]{1,${1 + die(7)}}`, "g")) ?? [];
    const { settled } = parsePieces(pieces);
    const blocks = blocksOf(text).blocks.filter(isShown).map(markupOf);
    assert.deepEqual(settled, blocks.slice(0, settled.length), text);
  }
});

test("a link shows its destination unless its words do", () => {
  const destination = (/** @type {string} */ words, /** @type {string} */ address) => unnamedDestination(words, /** @type {URL} */ (webAddress(address)));

  assert.equal(destination("here", "https://example.org/a"), "example.org");
  assert.equal(destination("example.org/b", "https://example.org/a"), "");
  assert.equal(destination("https://ok.example", "https://evil.example"), "evil.example");
  assert.equal(destination("https://ok.example", "https://ok.example@evil.example"), "evil.example");
  assert.equal(destination("ok.example", "https://ok.example:8443"), "ok.example:8443");
});

test("only the web and mail may be opened", () => {
  for (const address of ["javascript:alert(1)", "data:text/html,x", "//evil.example", "file:///x", "https:", "https://", " https://a", "blob:https://a/1"]) {
    assert.equal(webAddress(address), null, address);
  }
  assert.equal(webAddress("HTTPS://Example.org")?.host, "example.org");
});
