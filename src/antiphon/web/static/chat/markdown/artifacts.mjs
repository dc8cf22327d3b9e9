/**
 * Artifacts: code blocks of an answer that are documents of their own, and can be seen beside it.
 *
 * @typedef {"html" | "svg" | "mermaid" | "markdown"} Kind
 * @typedef {{kind: Kind, title: string, text: string}} Artifact  `title` is "" if the block has none
 */
import { languageOf } from "./grammar.mjs";

/** @type {Record<string, Kind>} */
const KINDS = { html: "html", htm: "html", svg: "svg", mermaid: "mermaid", markdown: "markdown", md: "markdown" };

/** Characters from which a block without a title is an artifact; a shorter one is an example in the text. */
const LEAST = { html: 200, svg: 60, mermaid: 1, markdown: 200 };

const LONGEST_TITLE = 80;

/**
 * Returns the artifact of a code block, or null.
 *
 * The title is in the first line of its fence, as `html title="Clock"` or as a file name; else it is
 * that of the document.
 *
 * @param {string | undefined} info the first line of its fence
 * @param {string} text
 * @returns {Artifact | null}
 */
export function artifactOf(info, text) {
  const lang = languageOf(info);
  if (!Object.hasOwn(KINDS, lang)) return null;
  const kind = KINDS[lang];
  const given = titleOfFence(info ?? "");
  if (!text.trim() || (!given && text.length < LEAST[kind])) return null;
  return { kind, title: (given || titleOfText(kind, text)).slice(0, LONGEST_TITLE), text };
}

/** @param {string} info */
function titleOfFence(info) {
  const [, , quoted, other, plain] = /\b(?:title|file|filename|name)=("([^"]*)"|'([^']*)'|([^\s}]+))/.exec(info) ?? [];
  const file = /\s([\w.-]+\.\w{1,8})(?:\s|$)/.exec(info)?.[1];
  return (quoted ?? other ?? plain ?? file ?? "").trim();
}

/** @param {Kind} kind @param {string} text */
function titleOfText(kind, text) {
  const start = text.slice(0, 4000);
  const found = kind === "markdown" ? /^#{1,3}[ \t]+(.+)$/m.exec(start) : kind === "mermaid" ? /^title:?[ \t]+(.+)$/m.exec(start) : /<title[^>]*>([^<]+)</i.exec(start);
  return (found?.[1] ?? "").trim();
}

/**
 * Turns a complete code block into a card: its title, buttons, and the code on demand.
 *
 * @param {HTMLElement} element the block
 * @param {Artifact} artifact
 * @param {import("../md.mjs").Labels} labels
 */
export function dressArtifact(element, { kind, title }, labels) {
  if (element.classList.contains("artifact")) return;
  element.classList.add("artifact", "folded");
  const head = element.querySelector(".code-head");
  const name = document.createElement("span");
  name.className = "artifact-title";
  name.dir = "auto";
  name.textContent = title || labels.artifacts[kind];
  const code = createButton("artifact-code", labels.showCode);
  code.setAttribute("aria-expanded", "false");
  const open = createButton("artifact-open", labels.openArtifact);
  open.setAttribute("aria-label", `${labels.openArtifact}: ${name.textContent}`);
  head?.querySelector(".code-language")?.before(name);
  head?.querySelector(".code-tool")?.before(open, code);
}

/** Shows the code of a card, or hides it. @param {HTMLElement} button @param {Element} block */
export function toggleArtifactCode(button, block) {
  const isFolded = block.classList.toggle("folded");
  button.setAttribute("aria-expanded", String(!isFolded));
}

/** @param {string} name @param {string} label */
function createButton(name, label) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = name;
  button.textContent = label;
  return button;
}
