/**
 * Incremental parser of Markdown that is still being written: settled blocks, and blocks that may change.
 *
 * Only the text after the last settled block is parsed again. A block is settled once a whole line of
 * another block follows it. Code between fences is not parsed: each line is checked once for the
 * closing fence. Pure functions.
 */
import { blocksOf, plainBlock } from "./grammar.mjs";
import { openFormula } from "./formula_syntax.mjs";

/**
 * @typedef {import("./grammar.mjs").Block} Block
 * @typedef {import("./grammar.mjs").Links} Links
 *
 * @typedef {object} Fence code whose closing fence has not come yet
 * @property {number} from  position of its first line
 * @property {number} looked  position up to which there is no closing fence
 * @property {string} mark  start of the closing fence, such as "```"
 * @property {string} lang
 *
 * @typedef {object} Growth
 * @property {string} settled  the text of all settled blocks
 * @property {number} tried  how much of the text was whole lines when settling was tried last
 * @property {Links} links
 * @property {Fence | null} fence
 */

/** @type {Growth} */
export const NOTHING_YET = { settled: "", tried: 0, links: {}, fence: null };

/** Returns true if the text still begins with the settled part; else all is parsed again. */
export function isContinuation(/** @type {Growth} */ growth, /** @type {string} */ text) {
  return text.startsWith(growth.settled);
}

/** Converts line ends to "\n"; a trailing "\r" may become the first half of one. */
export function normalizeNewlines(/** @type {string} */ text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/**
 * Parses the new part of a text that has grown: newly settled blocks, and open blocks, which replace
 * the previous open ones.
 *
 * @param {Growth} growth
 * @param {string} text the whole text, which begins with the settled part
 * @returns {{growth: Growth, settled: Block[], open: Block[]}}
 */
export function parseGrownText(growth, text) {
  const fence = growth.fence && scanFence(growth.fence, text);
  if (fence) return { growth: { ...growth, fence }, settled: [], open: [unfinishedCode(fence, text)] };
  const lines = settledLines({ ...growth, fence: null }, text);
  const begun = openFence(lines.growth, text);
  if (begun) return { ...lines, growth: { ...lines.growth, fence: begun }, open: [unfinishedCode(begun, text)] };
  return { ...lines, open: openBlocks(text.slice(lines.growth.settled.length), lines.growth.links) };
}

/** Returns the open blocks. An unfinished formula is plain text, even if its lines look like a list. */
function openBlocks(/** @type {string} */ tail, /** @type {Links} */ links) {
  const place = openFormula(tail);
  const { blocks } = blocksOf(tail.slice(0, place), links);
  return place < tail.length ? [...blocks, plainBlock(tail.slice(place))] : blocks;
}

/**
 * Returns the blocks that the whole lines of the text settle.
 *
 * @param {Growth} growth
 * @param {string} text
 */
function settledLines(growth, text) {
  const whole = text.lastIndexOf("\n") + 1;
  if (whole <= growth.tried) return { growth, settled: [] };
  const lines = text.slice(growth.settled.length, whole);
  const tail = lines.slice(0, openFormula(lines));
  const { blocks, links } = blocksOf(tail, growth.links);
  const settled = blocks.slice(0, blocks.findLastIndex((block) => block.type !== "space"));
  const length = settled.reduce((sum, block) => sum + block.raw.length, 0);
  const raw = settled.map((block) => block.raw).join("");
  if (!settled.length || tail.slice(0, length) !== raw) return { growth: { ...growth, tried: whole }, settled: [] };
  return { growth: { ...growth, settled: growth.settled + raw, tried: whole, links: settledLinks(settled, links, growth) }, settled };
}

/** Returns the links of settled definitions; one that is still being written may change. */
function settledLinks(/** @type {Block[]} */ settled, /** @type {Links} */ links, /** @type {Growth} */ { links: before }) {
  const tags = settled.filter((block) => block.type === "def").map((block) => block.tag);
  return Object.fromEntries([...tags.map((tag) => [tag, links[tag]]), ...Object.entries(before)]);
}

/**
 * Returns the fence around all open text, if there is one.
 *
 * @param {Growth} growth
 * @param {string} text
 * @returns {Fence | null}
 */
function openFence({ settled }, text) {
  const place = settled.length;
  const opening = /^(`{3,}(?=[^`\n]*\n)|~{3,})([^\n]*)\n/.exec(text.slice(place, place + 1000));
  if (!opening) return null;
  const [first] = blocksOf(opening[0]).blocks;
  const from = place + opening[0].length;
  return scanFence({ from, looked: from, mark: opening[1], lang: first.lang ?? "" }, text);
}

/** Checks new lines for the closing fence. Returns the fence, or null once it is closed. */
function scanFence(/** @type {Fence} */ fence, /** @type {string} */ text) {
  const whole = Math.max(text.lastIndexOf("\n") + 1, fence.looked);
  const end = new RegExp(`^ {0,3}${fence.mark}[~\`]* *$`, "m");
  return end.test(text.slice(fence.looked, whole)) ? null : { ...fence, looked: whole };
}

/** Returns the code so far, without a last line that may become the closing fence. */
function unfinishedCode(/** @type {Fence} */ fence, /** @type {string} */ text) {
  const unfinished = new RegExp(`(?:^|\\n) {0,3}${fence.mark[0]}* *$`);
  const code = text.slice(fence.from).replace(unfinished, "");
  return { type: "code", raw: "", lang: fence.lang, text: code, open: true };
}
