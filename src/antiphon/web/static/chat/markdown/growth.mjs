/**
 * Markdown that is still being written: which of its blocks are settled, and which may yet change.
 *
 * Only what follows the last settled block is read again. A block is settled once a whole line of
 * another block has come after it. Code between fences is not even read: its lines are looked at
 * once, for the fence that ends it. Pure: a text in, blocks out.
 */
import { blocksOf, plain } from "./grammar.mjs";
import { openFormula } from "./maths.mjs";

/**
 * @typedef {import("./grammar.mjs").Block} Block
 * @typedef {import("./grammar.mjs").Links} Links
 *
 * @typedef {object} Fence code that has no end yet
 * @property {number} from  where its first line begins
 * @property {number} looked  up to where no ending fence is
 * @property {string} mark  what ends it: "```"
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
export function continues(/** @type {Growth} */ growth, /** @type {string} */ text) {
  return text.startsWith(growth.settled);
}

/** Lines end with "\n"; one that ends with "\r" so far may become either. */
export function withPlainLines(/** @type {string} */ text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/**
 * What is new in a text that has grown: blocks that are settled now, and those still open, which
 * stand in the place of the open ones of before.
 *
 * @param {Growth} growth
 * @param {string} text the whole text, with what was settled in front
 * @returns {{growth: Growth, settled: Block[], open: Block[]}}
 */
export function grown(growth, text) {
  const fence = growth.fence && lookedThrough(growth.fence, text);
  if (fence) return { growth: { ...growth, fence }, settled: [], open: [codeSoFar(fence, text)] };
  const lines = settledLines({ ...growth, fence: null }, text);
  const begun = openFence(lines.growth, text);
  if (begun) return { ...lines, growth: { ...lines.growth, fence: begun }, open: [codeSoFar(begun, text)] };
  return { ...lines, open: openBlocks(text.slice(lines.growth.settled.length), lines.growth.links) };
}

/** What is there of the open blocks; a formula without an end is no list, whatever its lines begin with. */
function openBlocks(/** @type {string} */ tail, /** @type {Links} */ links) {
  const place = openFormula(tail);
  const { blocks } = blocksOf(tail.slice(0, place), links);
  return place < tail.length ? [...blocks, plain(tail.slice(place))] : blocks;
}

/**
 * The blocks that are settled by the whole lines of the text.
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
  return { growth: { ...growth, settled: growth.settled + raw, tried: whole, links: defined(settled, links, growth) }, settled };
}

/** What settled definitions have named; one that is still being written names nothing for good. */
function defined(/** @type {Block[]} */ settled, /** @type {Links} */ links, /** @type {Growth} */ { links: before }) {
  const tags = settled.filter((block) => block.type === "def").map((block) => block.tag);
  return Object.fromEntries([...tags.map((tag) => [tag, links[tag]]), ...Object.entries(before)]);
}

/**
 * The fence that all open text is inside of, if there is one.
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
  return lookedThrough({ from, looked: from, mark: opening[1], lang: first.lang ?? "" }, text);
}

/** The fence after its new lines were looked at; null once it has ended. */
function lookedThrough(/** @type {Fence} */ fence, /** @type {string} */ text) {
  const whole = Math.max(text.lastIndexOf("\n") + 1, fence.looked);
  const end = new RegExp(`^ {0,3}${fence.mark}[~\`]* *$`, "m");
  return end.test(text.slice(fence.looked, whole)) ? null : { ...fence, looked: whole };
}

/** The code as far as it is there, without a last line that may become the fence which ends it. */
function codeSoFar(/** @type {Fence} */ fence, /** @type {string} */ text) {
  const unfinished = new RegExp(`(?:^|\\n) {0,3}${fence.mark[0]}* *$`);
  const code = text.slice(fence.from).replace(unfinished, "");
  return { type: "code", raw: "", lang: fence.lang, text: code, open: true };
}
