/** Blocks of an answer as elements: made safe, dressed, and kept where they have not changed. */
import { codeBlock } from "./code.mjs";
import { drawFormula } from "./formulas.mjs";
import { markupOf, partsOf } from "./grammar.mjs";
import { dressLink, dressPicture } from "./links.mjs";
import { divide, isHardToLayOut } from "./pieces.mjs";
import { safeText } from "./safe.mjs";

/**
 * @typedef {import("./grammar.mjs").Block} Block
 * @typedef {import("../md.mjs").Labels} Labels
 * @typedef {(element: Element, work: () => void) => void} WhenSeen
 *
 * @typedef {object} Drawn a block in the page
 * @property {Node[]} nodes
 * @property {string} [markup] what it was made of; of a block with parts, its frame
 * @property {string[]} [parts]
 * @property {import("./code.mjs").CodeBlock} [code]
 */

const TEXTS = "p, h3, h4, h5, h6, li, td, th";
const HOLDERS_OF_TEXTS = "ul, ol, blockquote, table";

/**
 * The block as it is now, in the elements of before as far as they are the same.
 *
 * @param {Drawn | undefined} before
 * @param {Block} block
 * @param {Labels} labels
 * @param {WhenSeen} whenSeen
 * @returns {Drawn}
 */
export function redrawBlock(before, block, labels, whenSeen) {
  const nodes = (/** @type {string} */ markup) => nodesOf(markup, labels, whenSeen);
  const framed = partsOf(block);
  const markup = framed?.frame ?? markupOf(block);
  const same = before?.markup === markup && Boolean(before.parts) === Boolean(framed);
  const drawn = same ? before : { nodes: nodes(markup), markup, parts: framed && [] };
  if (!framed) return drawn;
  const { parts, around } = framed;
  const kept = parts.findIndex((part, place) => part !== drawn.parts[place]);
  renewParts(drawn, parts, kept < 0 ? parts.length : kept, (fresh) => nodes(around.join(fresh.join(""))));
  return { ...drawn, parts };
}

/**
 * Leaves the first parts of a frame as they are, and draws the others.
 *
 * @param {Drawn} drawn
 * @param {string[]} parts
 * @param {number} kept
 * @param {(parts: string[]) => Node[]} draw
 */
function renewParts(drawn, parts, kept, draw) {
  if (kept === parts.length && kept === drawn.parts?.length) return;
  const holder = partsContainer(drawn.nodes);
  for (const old of [...holder.children].slice(kept)) old.remove();
  if (kept < parts.length) holder.append(...partsContainer(draw(parts.slice(kept))).children);
  if (holder.localName !== "tbody") holder.setAttribute("dir", directionOf(holder.firstElementChild?.textContent ?? ""));
}

/** Where the parts of a frame stand: in its body if it is a table. */
function partsContainer(/** @type {Node[]} */ [node]) {
  const frame = /** @type {Element} */ (node);
  return frame.querySelector("tbody") ?? frame;
}

/**
 * The nodes of a block's markup, made safe and dressed.
 *
 * @param {string} markup
 * @param {Labels} labels
 * @param {WhenSeen} whenSeen
 */
function nodesOf(markup, labels, whenSeen) {
  const fragment = safeText(markup);
  for (const link of fragment.querySelectorAll("a")) dressLink(link);
  for (const picture of fragment.querySelectorAll("img")) dressPicture(picture);
  for (const box of fragment.querySelectorAll("input")) dressBox(box, labels);
  for (const table of fragment.querySelectorAll("table")) dressTable(table, labels);
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(code, labels, whenSeen);
  for (const text of fragment.querySelectorAll(TEXTS)) text.setAttribute("dir", "auto");
  for (const holder of fragment.querySelectorAll(HOLDERS_OF_TEXTS)) holder.setAttribute("dir", directionOf(holder.textContent ?? ""));
  divideHardTexts(fragment);
  for (const formula of fragment.querySelectorAll("code.maths")) drawFormula(/** @type {HTMLElement} */ (formula));
  return fragment.hasChildNodes() ? [...fragment.childNodes] : [document.createTextNode("")];
}

/** Divide the texts that a browser could not lay out in the time it takes to read them. */
function divideHardTexts(/** @type {DocumentFragment} */ fragment) {
  if (!isHardToLayOut(fragment.textContent ?? "")) return;
  for (const text of fragment.querySelectorAll(TEXTS)) {
    if (isHardToLayOut(text.textContent ?? "")) divide(text);
  }
}

/** The way a text is read, by its first letter: `dir="auto"` does not look into elements that have a `dir`. */
function directionOf(/** @type {string} */ text) {
  const [letter = ""] = /\p{L}/u.exec(text) ?? [];
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u.test(letter) ? "rtl" : "ltr";
}

/** @param {HTMLInputElement} box @param {Labels} labels */
function dressBox(box, labels) {
  if (box.type !== "checkbox") return box.remove();
  box.disabled = true;
  box.setAttribute("aria-label", box.checked ? labels.done : labels.open);
  return undefined;
}

/** A table scrolls by itself: the page does not become wider for it. */
function dressTable(/** @type {HTMLTableElement} */ table, /** @type {Labels} */ labels) {
  const frame = document.createElement("div");
  frame.className = "table-frame";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", labels.table);
  table.replaceWith(frame);
  frame.append(table);
}

/** @param {Element} code @param {Labels} labels @param {WhenSeen} whenSeen */
function dressCode(code, labels, whenSeen) {
  const block = codeBlock(code.className.replace("language-", ""), labels, whenSeen);
  block.write(code.textContent ?? "", false);
  code.parentElement?.replaceWith(block.element);
}
