/**
 * An answer in Markdown, drawn while it is being written and safe whatever it says.
 *
 * Settled blocks are drawn once and never touched again; only what may yet change is drawn anew, at
 * most once a frame. See `markdown/growth.mjs` for what is settled, `markdown/safe.mjs` for why
 * nothing in an answer can act.
 */
import { codeBlock, codeIn } from "./markdown/code.mjs";
import { drawFormula } from "./markdown/formulas.mjs";
import { blocksOf, isShown, languageOf, markupOf } from "./markdown/grammar.mjs";
import { NOTHING_YET, continues, grown, withPlainLines } from "./markdown/growth.mjs";
import { dressLink, dressPicture } from "./markdown/links.mjs";
import { frames, sight } from "./markdown/pace.mjs";
import { safeText } from "./markdown/safe.mjs";

/**
 * @typedef {import("./markdown/grammar.mjs").Block} Block
 *
 * @typedef {object} Labels words of ours that stand in an answer
 * @property {string} copy
 * @property {string} copied
 * @property {string} code
 * @property {string} table
 * @property {string} done
 * @property {string} open
 *
 * @typedef {object} Drawn a block in the page
 * @property {Node[]} nodes
 * @property {string} [markup]
 * @property {import("./markdown/code.mjs").CodeBlock} [code]
 *
 * @typedef {object} View
 * @property {(text: string) => void} update  the whole text so far; drawn when a frame is due
 * @property {(text: string) => void} finish  the whole text; drawn at once
 * @property {() => void} close
 */

/** @type {Labels} */
const ENGLISH = { copy: "Copy", copied: "Copied", code: "Code", table: "Table", done: "Done", open: "Not done" };
const COPIED_SECONDS = 2;
const TEXTS = "p, h3, h4, h5, h6, li, td, th";
const HOLDERS_OF_TEXTS = "ul, ol, blockquote, table";

/**
 * Draws an answer into an element, which is this view's alone.
 *
 * @param {HTMLElement} element
 * @param {{labels?: Labels, onCopied?: (text: string) => void, pace?: ReturnType<typeof frames>}} [options]
 * @returns {View}
 */
export function markdownView(element, { labels = ENGLISH, onCopied = () => {}, pace = frames() } = {}) {
  const eyes = sight();
  const copying = (/** @type {Event} */ event) => copyFrom(event, labels, onCopied);
  element.addEventListener("click", copying);
  /** @type {Drawn[]} */
  const drawn = [];
  let settledBlocks = 0;
  let growth = NOTHING_YET;

  const draw = (/** @type {number} */ place, /** @type {Block[]} */ blocks) => {
    const shown = blocks.filter(isShown);
    shown.forEach((block, index) => renew(place + index, block));
    return shown.length;
  };
  const renew = (/** @type {number} */ place, /** @type {Block} */ block) => {
    const before = drawn[place];
    const after = block.type === "code" ? codeAgain(before, block) : textAgain(before, block);
    if (after === before) return;
    if (before) replaceNodes(before.nodes, after.nodes);
    else element.append(...after.nodes);
    drawn[place] = after;
  };
  const codeAgain = (/** @type {Drawn | undefined} */ before, /** @type {Block} */ block) => {
    const same = before?.code?.lang === languageOf(block.lang);
    const code = same ? before.code : codeBlock(block.lang, labels, eyes.whenSeen);
    code.write(block.text, Boolean(block.open));
    return code === before?.code ? before : { nodes: [code.element], code };
  };
  const textAgain = (/** @type {Drawn | undefined} */ before, /** @type {Block} */ block) => {
    const markup = markupOf(block);
    return before?.markup === markup ? before : { nodes: nodesOf(markup, labels, eyes.whenSeen), markup };
  };
  const cutAt = (/** @type {number} */ place) => {
    for (const { nodes } of drawn.splice(place)) replaceNodes(nodes, []);
  };

  const grow = (/** @type {string} */ text) => {
    if (!continues(growth, text)) [growth, settledBlocks] = [NOTHING_YET, 0];
    const now = grown(growth, text);
    growth = now.growth;
    settledBlocks += draw(settledBlocks, now.settled);
    cutAt(settledBlocks + draw(settledBlocks, now.open));
  };
  return {
    update: (text) => pace.soon(() => grow(withPlainLines(text))),
    finish(text) {
      pace.never();
      [growth, settledBlocks] = [NOTHING_YET, 0];
      cutAt(draw(0, blocksOf(withPlainLines(text)).blocks)); // names that were defined late are known now
    },
    close() {
      pace.never();
      eyes.close();
      element.removeEventListener("click", copying);
    },
  };
}

/**
 * The nodes of a block's markup, made safe and dressed.
 *
 * @param {string} markup
 * @param {Labels} labels
 * @param {(element: Element, work: () => void) => void} whenSeen
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
  for (const formula of fragment.querySelectorAll("code.maths")) drawFormula(/** @type {HTMLElement} */ (formula));
  return fragment.hasChildNodes() ? [...fragment.childNodes] : [document.createTextNode("")];
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

/** @param {Element} code @param {Labels} labels @param {(element: Element, work: () => void) => void} whenSeen */
function dressCode(code, labels, whenSeen) {
  const block = codeBlock(code.className.replace("language-", ""), labels, whenSeen);
  block.write(code.textContent ?? "", false);
  code.parentElement?.replaceWith(block.element);
}

/** @param {Node[]} before @param {Node[]} after */
function replaceNodes(before, after) {
  const [first, ...rest] = /** @type {ChildNode[]} */ (before);
  first.replaceWith(...after);
  for (const node of rest) node.remove();
}

/**
 * Copies the code whose button was pressed.
 *
 * @param {Event} event
 * @param {Labels} labels
 * @param {(text: string) => void} onCopied
 */
async function copyFrom({ target }, labels, onCopied) {
  const button = /** @type {Element} */ (target).closest("button.copy");
  const block = button?.closest(".code-block");
  if (!button || !block) return;
  const text = codeIn(block);
  if (!(await copied(text, block))) return;
  button.textContent = labels.copied;
  setTimeout(() => (button.textContent = labels.copy), COPIED_SECONDS * 1000);
  onCopied(text);
}

/** Whether the text could be copied; without https browsers lend the clipboard to a selection only. */
async function copied(/** @type {string} */ text, /** @type {Element} */ block) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(/** @type {Element} */ (block.querySelector("code")));
    return document.execCommand("copy");
  }
}
