/** Elements of an answer's blocks: sanitized, decorated, and reused if unchanged. */
import { codeBlock } from "./code.mjs";
import { dressFootnote } from "./footnotes.mjs";
import { drawFormula } from "./formulas.mjs";
import { markupOf, partsOf } from "./grammar.mjs";
import { dressLink, dressPicture } from "./links.mjs";
import { divide, isHardToLayOut } from "./pieces.mjs";
import { safeText } from "./sanitize.mjs";

/**
 * @typedef {import("./grammar.mjs").Block} Block
 * @typedef {import("../md.mjs").Labels} Labels
 * @typedef {(element: Element, work: () => void) => void} WhenSeen
 *
 * @typedef {object} Drawn a block in the page
 * @property {Node[]} nodes
 * @property {string} [markup] its source; for a block with parts, that of the frame
 * @property {string[]} [parts]
 * @property {import("./code.mjs").CodeBlock} [code]
 */

const TEXTS = "p, h3, h4, h5, h6, li, td, th";
const HOLDERS_OF_TEXTS = "ul, ol, blockquote, table";

/**
 * Returns the drawn block; elements that have not changed are reused.
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
 * Keeps the first parts of a frame, and draws the others.
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

/** Returns the element that contains the parts of a frame: the body of a table, or the frame. */
function partsContainer(/** @type {Node[]} */ [node]) {
  const frame = /** @type {Element} */ (node);
  return frame.querySelector("tbody") ?? frame;
}

/**
 * Returns the nodes of a block's markup, sanitized and decorated.
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
  for (const code of fragment.querySelectorAll("code.footnote-mark, code.footnote-name")) dressFootnote(code, labels);
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(code, labels, whenSeen);
  for (const text of fragment.querySelectorAll(TEXTS)) text.setAttribute("dir", "auto");
  for (const holder of fragment.querySelectorAll(HOLDERS_OF_TEXTS)) holder.setAttribute("dir", directionOf(holder.textContent ?? ""));
  divideHardTexts(fragment);
  for (const formula of fragment.querySelectorAll("code.maths")) drawFormula(/** @type {HTMLElement} */ (formula));
  return fragment.hasChildNodes() ? [...fragment.childNodes] : [document.createTextNode("")];
}

/** Divides texts whose layout would take the browser too long. */
function divideHardTexts(/** @type {DocumentFragment} */ fragment) {
  if (!isHardToLayOut(fragment.textContent ?? "")) return;
  for (const text of fragment.querySelectorAll(TEXTS)) {
    if (isHardToLayOut(text.textContent ?? "")) divide(text);
  }
}

/** Returns the direction of a text by its first letter: `dir="auto"` ignores elements that have a `dir`. */
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

/** Puts a table into a scrolling frame, so that the page does not become wider. */
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
