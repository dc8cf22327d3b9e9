/**
 * Markdown parser and renderer: GitHub's dialect, with formulas and without HTML.
 *
 * Pure functions. All tags of the markup are written here: HTML in the text is escaped. The markup is
 * shown only after `sanitize.mjs`.
 */
import { Lexer, Marked, Parser, Tokenizer } from "../vendor/marked.mjs";
import { blockFootnote, inlineFootnote } from "./footnote_syntax.mjs";
import { blockMaths, inlineMaths } from "./formula_syntax.mjs";

/**
 * @typedef {{type: string, raw: string, [more: string]: any}} Block
 * @typedef {Record<string, {href: string, title: string | null}>} Links  definitions of `[names]`
 */

/**
 * Limit on the effort of parsing one text, and all texts together, in characters examined.
 *
 * Each mark may be searched for up to the end of its paragraph, which is quadratic in a paragraph of
 * marks only. Text that would take more than a second is shown unparsed.
 */
const MOST_EFFORT = { each: 3_000_000, all: 30_000_000 };
/** Limit on paragraphs, items and cells. Drawing more takes too long, so the text is shown unparsed. */
const MOST_PLACES = 8_000;
/** An item of ten thousand lines without text at the margin after an empty line is not parsed as a list. */
const ENDLESS_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?![^\s]).*\n(?:(?!(?:[-*+]|\d{1,9}[.)])[ \t]|\n\S).*\n){10000}/;
/** A quotation with many lines that lack its mark: each of them would make the library parse all of it again. */
const LAZY_QUOTE = /^(?: {0,3}>.*\n(?:(?! {0,3}>).+\n)+){200}/;
/** An underlined heading, approximately: a cheap check before the library's. */
const UNDERLINED = /^(?:.+\n){1,20} {0,3}(?:=+|-+)[ \t]*(?:\n|$)/;

const grammar = new Marked({
  gfm: true,
  tokenizer: {
    html: () => undefined,
    tag: () => undefined,
    url: (source) => (/^[^\s<]{2000}/.test(source) ? undefined : false),
    blockquote: (source) => (LAZY_QUOTE.test(source) ? undefined : false),
    table(source) {
      return isTableHead(this, source) ? false : undefined;
    },
    list: (source) => (ENDLESS_ITEM.test(source) ? undefined : false),
    lheading(source) {
      if (!UNDERLINED.test(source)) return undefined;
      const heading = this.rules.block.lheading.exec(source);
      return heading && blockMaths.start(heading[0]) !== undefined ? undefined : false;
    },
  },
  renderer: {
    code: ({ text, lang }) => codeMarkup(text, lang),
    checkbox: ({ checked }) => `<input type="checkbox" disabled=""${checked ? ' checked=""' : ""}> `,
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6); // the page and the message have headings above these
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    html: ({ text }) => escapeHtml(text),
    image({ href, text, tokens }) {
      const words = tokens ? this.parser.parseInline(tokens, this.parser.textRenderer) : text;
      return imageMarkup(href, words);
    },
    link(token) {
      const words = token.tokens.map((part) => (part.type === "image" ? imageAsText(part) : part));
      return `<a href="${escapeHtml(token.href)}">${this.parser.parseInline(words)}</a>`;
    },
    tablecell({ tokens, header, align }) {
      const tag = header ? "th" : "td";
      const place = align ? ` class="${align}"` : "";
      return `<${tag}${place}>${this.parser.parseInline(tokens)}</${tag}>\n`;
    },
  },
  extensions: [
    { name: "effort", level: "inline", tokenizer: chargeEffort },
    { name: "effort on blocks", level: "block", tokenizer: chargeEffortOfBlock },
    {
      ...blockFootnote,
      renderer({ label, tokens }) {
        return `<p class="footnote"><code class="footnote-name">${escapeHtml(label, true)}</code> ${this.parser.parseInline(tokens)}</p>\n`;
      },
    },
    { ...inlineFootnote, renderer: ({ label }) => `<code class="footnote-mark">${escapeHtml(label, true)}</code>` },
    { ...blockMaths, renderer: ({ tex }) => `<p><code class="maths display">${escapeHtml(tex)}</code></p>\n` },
    {
      ...inlineMaths,
      renderer: ({ tex, display }) => `<code class="maths${display ? " display" : ""}">${escapeHtml(tex)}</code>`,
    },
  ],
});

/**
 * Returns the blocks of a text, each with its source (`raw`) and contents.
 *
 * @param {string} text lines end with "\n"
 * @param {Links} [links] definitions in earlier parts of the text
 * @returns {{blocks: Block[], links: Links}}
 */
export function blocksOf(text, links = {}) {
  const lexer = new Lexer(grammar.defaults);
  Object.assign(lexer.tokens.links, links);
  lexer.state.effort = MOST_EFFORT.all;
  try {
    lexer.blockTokens(text, lexer.tokens);
    if (lexer.inlineQueue.length + lexer.tokens.filter(isShown).length > MOST_PLACES) return { blocks: [plainBlock(text)], links };
    parseInside(lexer);
    return { blocks: [...lexer.tokens], links: lexer.tokens.links };
  } catch {
    return { blocks: [plainBlock(text)], links }; // if the library fails, the text is shown unparsed
  }
}

/** Returns true if two lines are the head of a table. The library would parse all rows first. */
function isTableHead(/** @type {Tokenizer} */ tokenizer, /** @type {string} */ source) {
  const queue = tokenizer.lexer.inlineQueue;
  const before = queue.length;
  const table = Tokenizer.prototype.table.call(tokenizer, `${source.split("\n", 2).join("\n")}\n`);
  queue.length = before;
  return Boolean(table);
}

/** Parses the contents of the blocks, as far as the effort allows. */
function parseInside(/** @type {Lexer} */ lexer) {
  let left = MOST_EFFORT.all;
  for (const { src, tokens } of lexer.inlineQueue) {
    const given = Math.min(left, MOST_EFFORT.each);
    lexer.state.effort = given;
    try {
      lexer.inlineTokens(src, tokens);
    } catch {
      tokens.splice(0, tokens.length, { type: "text", raw: src, text: src, escaped: false });
    }
    left -= given - Math.max(lexer.state.effort, 0);
  }
}

/** Charges the effort of parsing this piece. Throws when the limit is exceeded. */
function chargeEffort(/** @type {string} */ source) {
  this.lexer.state.effort -= source.length;
  if (this.lexer.state.effort < 0) throw new RangeError("This text takes too long to be read as Markdown.");
  return undefined;
}

/** Charges for blocks inside others, and for a paragraph to which lines are appended one by one. */
function chargeEffortOfBlock(/** @type {string} */ source, /** @type {Block[]} */ before) {
  const last = before.at(-1);
  return chargeEffort.call(this, before !== this.lexer.tokens ? source : last?.type === "paragraph" ? last.raw : "");
}

/** Returns the markup of a block: our tags around escaped text. */
export function markupOf(/** @type {Block} */ block) {
  if (block.type === "plain") return plainMarkup(block.raw);
  try {
    return new Parser(grammar.defaults).parse([block]).trim();
  } catch {
    return plainMarkup(block.raw);
  }
}

/**
 * Returns a block that grows at its end as a frame and its parts: items, rows, or quoted blocks. Each
 * part is one element; `around` is the markup in which it can be parsed. Null for any other block.
 *
 * @param {Block} block
 * @returns {{frame: string, around: [string, string], parts: string[]} | null}
 */
export function partsOf(block) {
  try {
    return FRAMES[block.type]?.(block, new Parser(grammar.defaults)) ?? null;
  } catch {
    return null;
  }
}

/** @type {Record<string, (block: Block, parser: Parser) => {frame: string, around: [string, string], parts: string[]} | null>} */
const FRAMES = {
  list: (block, { renderer }) => ({
    frame: renderer.list({ ...block, items: [] }),
    around: ["<ul>", "</ul>"],
    parts: block.items.map((item) => renderer.listitem(item)),
  }),
  table: (block, { renderer }) => ({
    frame: renderer.table({ ...block, rows: [] }).replace("</table>", "<tbody></tbody></table>"),
    around: ["<table><tbody>", "</tbody></table>"],
    parts: block.rows.map((cells) => renderer.tablerow({ text: cells.map((cell) => renderer.tablecell(cell)).join("") })),
  }),
  blockquote: (block, parser) =>
    block.tokens.some(({ type }) => type === "text") ? null : {
      frame: "<blockquote></blockquote>",
      around: ["<blockquote>", "</blockquote>"],
      parts: block.tokens.filter(isShown).map((inside) => parser.parse([inside])),
    },
};

/** Returns true if a block shows anything. */
export function isShown(/** @type {Block} */ block) {
  return block.type !== "space" && block.type !== "def";
}

/** Returns the language that the first line of a fence names, without characters that no name has. */
export function languageOf(/** @type {string | undefined} */ info) {
  const word = (info ?? "").trim().split(/\s/, 1)[0].toLowerCase();
  return word.replace(/[^a-z0-9+#.-]/g, "").slice(0, 24);
}

/** Returns a block of text that is shown unparsed. */
export function plainBlock(/** @type {string} */ text) {
  return { type: "plain", raw: text };
}

/** @param {string} text */
const plainMarkup = (text) => `<p class="plain">${escapeHtml(text, true)}</p>`;

/** @param {string} text @param {string | undefined} info */
function codeMarkup(text, info) {
  return `<pre><code class="language-${languageOf(info)}">${escapeHtml(text, true)}</code></pre>\n`;
}

/** Images of this server are shown; others are links, because loading them reveals the reader. */
function imageMarkup(/** @type {string} */ address, /** @type {string} */ words) {
  const label = escapeHtml(words);
  if (isOwnFile(address)) return `<img src="${escapeHtml(address)}" alt="${label}">`;
  return `<a href="${escapeHtml(address)}">${label || escapeHtml(address)}</a>`;
}

/** Returns true if the address is that of a file uploaded here. */
export function isOwnFile(/** @type {string} */ address) {
  return /^\/api\/files\/[\w-]+(?:\?inline=1)?$/.test(address);
}

/** @param {Block} image */
function imageAsText({ raw, text }) {
  return { type: "text", raw, text: text || "image", escaped: false };
}

/**
 * Escapes text for use between tags or in quotes. Character references such as `&amp;` are valid in
 * Markdown and stay, unless `everyAmpersand` is set, as for code.
 *
 * @param {string} text
 * @param {boolean} [everyAmpersand]
 */
function escapeHtml(text, everyAmpersand = false) {
  const ampersand = everyAmpersand ? /&/g : /&(?!(?:#\d{1,7}|#[Xx][\dA-Fa-f]{1,6}|\w+);)/g;
  return text
    .replace(ampersand, "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
