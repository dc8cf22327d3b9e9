/**
 * Markdown as it is read here, and the markup it becomes: GitHub's, with formulas and without HTML.
 *
 * Pure: text in, blocks and markup out. The markup is ours down to the last tag, for whatever looks
 * like HTML in the text is text. Nobody shows it before `safe.mjs` has looked at it.
 */
import { Lexer, Marked, Parser, Tokenizer } from "../vendor/marked.mjs";
import { blockMaths, inlineMaths } from "./maths.mjs";

/**
 * @typedef {{type: string, raw: string, [more: string]: any}} Block
 * @typedef {Record<string, {href: string, title: string | null}>} Links  what `[names]` stand for
 */

/**
 * What the reading of one text, and of all texts together, may cost: letters that are looked at.
 *
 * Each mark may be looked for up to the end of its paragraph, which takes the square of a paragraph
 * that is nothing but marks. What costs more than a second is shown as it was written.
 */
const MOST_EFFORT = { each: 3_000_000, all: 30_000_000 };
/** More paragraphs, items and cells than this take longer to draw than a reader would wait; the text is shown as it is. */
const MOST_PLACES = 8_000;
/** An item of ten thousand lines is none: nothing, in so many, stands at the margin after an empty line. */
const ENDLESS_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?![^\s]).*\n(?:(?!(?:[-*+]|\d{1,9}[.)])[ \t]|\n\S).*\n){10000}/;
/** A quotation that goes on without its mark again and again: all of it would be read for each time. */
const LAZY_QUOTE = /^(?: {0,3}>.*\n(?:(?! {0,3}>).+\n)+){200}/;
/** The lines of a heading and what underlines them, near enough for what it costs to look. */
const UNDERLINED = /^(?:.+\n){1,20} {0,3}(?:=+|-+)[ \t]*(?:\n|$)/;

const grammar = new Marked({
  gfm: true,
  tokenizer: {
    html: () => undefined,
    tag: () => undefined,
    url: (source) => (/^[^\s<]{2000}/.test(source) ? undefined : false),
    blockquote: (source) => (LAZY_QUOTE.test(source) ? undefined : false),
    table(source) {
      return beginsTable(this, source) ? false : undefined;
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
    html: ({ text }) => escaped(text),
    image({ href, text, tokens }) {
      const words = tokens ? this.parser.parseInline(tokens, this.parser.textRenderer) : text;
      return imageMarkup(href, words);
    },
    link(token) {
      const words = token.tokens.map((part) => (part.type === "image" ? asText(part) : part));
      return `<a href="${escaped(token.href)}">${this.parser.parseInline(words)}</a>`;
    },
    tablecell({ tokens, header, align }) {
      const tag = header ? "th" : "td";
      const place = align ? ` class="${align}"` : "";
      return `<${tag}${place}>${this.parser.parseInline(tokens)}</${tag}>\n`;
    },
  },
  extensions: [
    { name: "effort", level: "inline", tokenizer: spent },
    { name: "effort on blocks", level: "block", tokenizer: spentOnBlocks },
    { ...blockMaths, renderer: ({ tex }) => `<p><code class="maths display">${escaped(tex)}</code></p>\n` },
    {
      ...inlineMaths,
      renderer: ({ tex, display }) => `<code class="maths${display ? " display" : ""}">${escaped(tex)}</code>`,
    },
  ],
});

/**
 * The blocks of a text, each with the text it was made of (`raw`) and what it holds.
 *
 * @param {string} text lines end with "\n"
 * @param {Links} [links] what an earlier part of the text has named
 * @returns {{blocks: Block[], links: Links}}
 */
export function blocksOf(text, links = {}) {
  const lexer = new Lexer(grammar.defaults);
  Object.assign(lexer.tokens.links, links);
  lexer.state.effort = MOST_EFFORT.all;
  try {
    lexer.blockTokens(text, lexer.tokens);
    if (lexer.inlineQueue.length + lexer.tokens.filter(isShown).length > MOST_PLACES) return { blocks: [plain(text)], links };
    readInside(lexer);
    return { blocks: [...lexer.tokens], links: lexer.tokens.links };
  } catch {
    return { blocks: [plain(text)], links }; // whatever the library stumbles over, the text is shown
  }
}

/** Whether two lines are the head of a table: the library looks at all rows before it looks at these. */
function beginsTable(/** @type {Tokenizer} */ tokenizer, /** @type {string} */ source) {
  const queue = tokenizer.lexer.inlineQueue;
  const before = queue.length;
  const table = Tokenizer.prototype.table.call(tokenizer, `${source.split("\n", 2).join("\n")}\n`);
  queue.length = before;
  return Boolean(table);
}

/** Reads what stands in the blocks, as far as the effort allows. */
function readInside(/** @type {Lexer} */ lexer) {
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

/** Asked before each piece of a text is read. Throws when that has cost enough. */
function spent(/** @type {string} */ source) {
  this.lexer.state.effort -= source.length;
  if (this.lexer.state.effort < 0) throw new RangeError("This text takes too long to be read as Markdown.");
  return undefined;
}

/** The same of blocks that stand in others, and of a paragraph that line after line is put to. */
function spentOnBlocks(/** @type {string} */ source, /** @type {Block[]} */ before) {
  const last = before.at(-1);
  return spent.call(this, before !== this.lexer.tokens ? source : last?.type === "paragraph" ? last.raw : "");
}

/** The markup of a block: our tags around escaped text. */
export function markupOf(/** @type {Block} */ block) {
  if (block.type === "plain") return plainMarkup(block.raw);
  try {
    return new Parser(grammar.defaults).parse([block]).trim();
  } catch {
    return plainMarkup(block.raw);
  }
}

/**
 * A block that grows at its end, as a frame and the parts in it: items, rows, what is quoted. Each
 * part is one element; `around` is what it must stand in to be one. Null for any other block.
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

/** The language that the first line of a fence names, as far as it can be a name. */
export function languageOf(/** @type {string | undefined} */ info) {
  const word = (info ?? "").trim().split(/\s/, 1)[0].toLowerCase();
  return word.replace(/[^a-z0-9+#.-]/g, "").slice(0, 24);
}

/** A text that is shown as it is. */
export function plain(/** @type {string} */ text) {
  return { type: "plain", raw: text };
}

/** @param {string} text */
const plainMarkup = (text) => `<p class="plain">${escaped(text, true)}</p>`;

/** @param {string} text @param {string | undefined} info */
function codeMarkup(text, info) {
  return `<pre><code class="language-${languageOf(info)}">${escaped(text, true)}</code></pre>\n`;
}

/** Images of this server are shown; others are links, because loading them reveals the reader. */
function imageMarkup(/** @type {string} */ address, /** @type {string} */ words) {
  const label = escaped(words);
  if (isOwnFile(address)) return `<img src="${escaped(address)}" alt="${label}">`;
  return `<a href="${escaped(address)}">${label || escaped(address)}</a>`;
}

/** Returns true if the address is that of a file uploaded here. */
export function isOwnFile(/** @type {string} */ address) {
  return /^\/api\/files\/[\w-]+(?:\?inline=1)?$/.test(address);
}

/** @param {Block} image */
function asText({ raw, text }) {
  return { type: "text", raw, text: text || "image", escaped: false };
}

/**
 * As text between tags or quotes. What is written as `&amp;` already is a character's name in
 * Markdown and stays one, except in code.
 *
 * @param {string} text
 * @param {boolean} [everyAmpersand]
 */
function escaped(text, everyAmpersand = false) {
  const ampersand = everyAmpersand ? /&/g : /&(?!(?:#\d{1,7}|#[Xx][\dA-Fa-f]{1,6}|\w+);)/g;
  return text
    .replace(ampersand, "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
