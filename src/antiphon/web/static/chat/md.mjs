/**
 * Markdown of an answer, rendered safely while it streams.
 *
 * Settled blocks are drawn once; only blocks that may change are redrawn, at most once per frame.
 * `markdown/incremental.mjs` decides which are settled, and `markdown/sanitize.mjs` sanitizes.
 */
import { artifactOf, dressArtifact, toggleArtifactCode } from "./markdown/artifacts.mjs";
import { codeBlock } from "./markdown/code.mjs";
import { codeIn, pressCodeTool } from "./markdown/code_tools.mjs";
import { redrawBlock } from "./markdown/elements.mjs";
import { followFootnote, settleFootnotes } from "./markdown/footnotes.mjs";
import { blocksOf, isShown, languageOf } from "./markdown/grammar.mjs";
import { NOTHING_YET, isContinuation, parseGrownText, normalizeNewlines } from "./markdown/incremental.mjs";
import { createFrameQueue, createSightQueue } from "./markdown/scheduling.mjs";
import { setHeadingRanks } from "./markdown/heading_ranks.mjs";
import { followSource, markSources } from "./markdown/source_marks.mjs";

/**
 * @typedef {import("./markdown/grammar.mjs").Block} Block
 *
 * @typedef {object} Labels words of ours that stand in an answer
 * @property {string} copy
 * @property {string} copied
 * @property {string} code
 * @property {string} wrap
 * @property {string} numbers
 * @property {string} save
 * @property {string} table
 * @property {string} footnote  beside its name
 * @property {string} toText  the way back from a footnote
 * @property {string} done
 * @property {string} open
 * @property {string} source  before its number
 * @property {Record<import("./markdown/artifacts.mjs").Kind, string>} artifacts  names of those without a title
 * @property {string} openArtifact
 * @property {string} showCode
 *
 * @typedef {import("./markdown/elements.mjs").Drawn} Drawn
 *
 * @typedef {(artifact: import("./markdown/artifacts.mjs").Artifact | undefined) => void} OnArtifact
 *
 * @typedef {object} View
 * @property {(text: string) => void} update  the whole text so far; drawn when a frame is due
 * @property {(text: string, sources?: readonly import("./web_sources.mjs").Source[]) => void} finish  the whole text;
 *   drawn at once, with numbers at links to the sources
 * @property {() => void} close
 */

/** @type {Labels} */
const ENGLISH = { copy: "Copy", copied: "Copied", code: "Code", wrap: "Wrap", numbers: "Numbers", save: "Save", table: "Table", footnote: "Footnote", toText: "Back to the text at", done: "Done", open: "Not done", source: "Source", artifacts: { html: "Web page", svg: "Picture", mermaid: "Diagram", markdown: "Document" }, openArtifact: "Open", showCode: "Show code" };
const COPIED_SECONDS = 2;
const QUIET_MS = 200;

/**
 * Creates a view that draws an answer into an element of its own.
 *
 * @param {HTMLElement} element
 * @param {{labels?: Labels, onCopied?: (text: string) => void, onArtifact?: OnArtifact, pace?: ReturnType<typeof createFrameQueue>}} [options]
 *   with `onArtifact` code blocks that are artifacts become cards, which call it to be opened
 * @returns {View}
 */
export function markdownView(element, { labels = ENGLISH, onCopied = () => {}, onArtifact, pace = createFrameQueue() } = {}) {
  const eyes = createSightQueue();
  /** @type {WeakMap<Element, import("./markdown/artifacts.mjs").Artifact>} artifacts by their cards */
  const artifacts = new WeakMap();
  const pressed = (/** @type {Event} */ event) => press(event, labels, onCopied, (block) => onArtifact?.(artifacts.get(block)));
  element.addEventListener("click", pressed);
  /** @type {Drawn[]} */
  const drawn = [];
  let settledBlocks = 0;
  let growth = NOTHING_YET;
  let live = false;

  /** Delays work inside a block that changes each frame, which would only flicker. */
  const whenQuiet = (/** @type {Element} */ inside, /** @type {() => void} */ work) =>
    eyes.whenSeen(inside, () => (live ? setTimeout(() => inside.isConnected && work(), QUIET_MS) : work()));
  const draw = (/** @type {number} */ place, /** @type {Block[]} */ blocks) => {
    const shown = blocks.filter(isShown);
    shown.forEach((block, index) => renew(place + index, block));
    return shown.length;
  };
  const renew = (/** @type {number} */ place, /** @type {Block} */ block) => {
    const before = drawn[place];
    const after = block.type === "code" ? codeAgain(before, block) : redrawBlock(before, block, labels, whenQuiet);
    drawn[place] = after;
    if (!before) element.append(...after.nodes);
    else if (before.nodes !== after.nodes) replaceNodes(before.nodes, after.nodes);
  };
  const codeAgain = (/** @type {Drawn | undefined} */ before, /** @type {Block} */ block) => {
    const same = before?.code?.lang === languageOf(block.lang);
    const code = same ? before.code : codeBlock(block.lang, labels, eyes.whenSeen);
    code.write(block.text, Boolean(block.open));
    const artifact = live || !onArtifact ? null : artifactOf(block.lang, block.text);
    if (artifact) {
      artifacts.set(code.element, artifact);
      dressArtifact(code.element, artifact, labels);
    }
    return code === before?.code ? before : { nodes: [code.element], code };
  };
  const cutAt = (/** @type {number} */ place) => {
    for (const { nodes } of drawn.splice(place)) replaceNodes(nodes, []);
  };

  const grow = (/** @type {string} */ text) => {
    live = true;
    if (!isContinuation(growth, text)) [growth, settledBlocks] = [NOTHING_YET, 0];
    const now = parseGrownText(growth, text);
    growth = now.growth;
    settledBlocks += draw(settledBlocks, now.settled);
    cutAt(settledBlocks + draw(settledBlocks, now.open));
  };
  return {
    update: (text) => pace.soon(() => grow(normalizeNewlines(text))),
    finish(text, sources = []) {
      pace.never();
      live = false;
      [growth, settledBlocks] = [NOTHING_YET, 0];
      cutAt(draw(0, blocksOf(normalizeNewlines(text)).blocks)); // names that were defined late are known now
      settleFootnotes(element);
      setHeadingRanks(element);
      markSources(element, sources, labels.source);
    },
    close() {
      pace.never();
      eyes.close();
      element.removeEventListener("click", pressed);
    },
  };
}

/** @param {Node[]} before @param {Node[]} after */
function replaceNodes(before, after) {
  const [first, ...rest] = /** @type {ChildNode[]} */ (before);
  first.replaceWith(...after);
  for (const node of rest) node.remove();
}

/**
 * Handles a press of a button of a code block or of a footnote.
 *
 * @param {Event} event
 * @param {Labels} labels
 * @param {(text: string) => void} onCopied
 * @param {(block: Element) => void} onOpen
 */
async function press({ target, currentTarget }, labels, onCopied, onOpen) {
  const button = /** @type {Element} */ (target).closest("button");
  const block = button?.closest(".code-block");
  if (!button) return;
  if (button.classList.contains("source-mark")) followSource(button);
  else if (!block) followFootnote(button, /** @type {Element} */ (currentTarget));
  else if (button.classList.contains("artifact-open")) onOpen(block);
  else if (button.classList.contains("artifact-code")) toggleArtifactCode(button, block);
  else if (button.classList.contains("code-tool")) pressCodeTool(button, block);
  else await copyCode(button, block, labels, onCopied);
}

/** @param {HTMLElement} button @param {Element} block @param {Labels} labels @param {(text: string) => void} onCopied */
async function copyCode(button, block, labels, onCopied) {
  const text = codeIn(block);
  if (!(await copyToClipboard(text, block))) return;
  button.textContent = labels.copied;
  setTimeout(() => (button.textContent = labels.copy), COPIED_SECONDS * 1000);
  onCopied(text);
}

/** Copies the text; returns false on failure. Without https only a selection can be copied. */
async function copyToClipboard(/** @type {string} */ text, /** @type {Element} */ block) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(/** @type {Element} */ (block.querySelector("code")));
    return document.execCommand("copy");
  }
}
