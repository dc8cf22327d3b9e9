/** Code block: language, buttons, and syntax colours once it is complete. */
import { codeTools, numberLines } from "./code_tools.mjs";
import { languageOf } from "./grammar.mjs";
import { loadLazily } from "./lazy.mjs";
import { divide, isHardToLayOut } from "./pieces.mjs";
import { safeCode } from "./sanitize.mjs";

const withHighlighter = loadLazily(() => import("../vendor/highlight.mjs"));

/** Characters; colouring more takes too long. */
const MOST_COLOURED = 60_000;

/**
 * @typedef {object} CodeBlock
 * @property {HTMLElement} element
 * @property {string} lang
 * @property {(text: string, open: boolean) => void} write  the whole code so far, and true if more may come
 */

/**
 * Creates a code block that can grow; existing text stays, so that selection and scroll are kept.
 *
 * @param {string | undefined} info the first line of its fence
 * @param {import("../md.mjs").Labels} labels
 * @param {(element: Element, work: () => void) => void} whenSeen
 * @returns {CodeBlock}
 */
export function codeBlock(info, labels, whenSeen) {
  const lang = languageOf(info);
  const words = document.createTextNode("");
  const code = createElement("code", lang && `language-${lang}`, words);
  const pre = createElement("pre", "", code);
  pre.tabIndex = 0; // it scrolls, also by keys
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", lang ? `${labels.code}: ${lang}` : labels.code);
  const element = createElement("div", "code-block", createElement("div", "code-head", createElement("span", "code-language", lang), ...codeTools(labels), copyButton(labels)), pre);
  element.dir = "ltr";
  const write = (/** @type {string} */ text, /** @type {boolean} */ open) => {
    if (text !== code.textContent) {
      updateText(code, words, text);
      numberLines(element);
    }
    if (!open && lang) whenSeen(element, () => highlight(code, words, lang));
  };
  return { element, lang, write };
}

/** Replaces the text; text appended at the end, the usual case, does not touch the rest. */
function updateText(/** @type {HTMLElement} */ code, /** @type {Text} */ words, /** @type {string} */ text) {
  if (words.parentNode !== code) code.replaceChildren(words);
  if (text.startsWith(words.data)) words.appendData(text.slice(words.length));
  else words.data = text;
  if (isHardToLayOut(text)) divide(code);
}

/** @param {HTMLElement} code @param {Text} words @param {string} lang */
function highlight(code, words, lang) {
  if (words.length > MOST_COLOURED || words.parentNode !== code) return;
  withHighlighter((highlighter) => {
    if (!highlighter.getLanguage(lang) || words.parentNode !== code) return;
    const { value } = highlighter.highlight(words.data, { language: lang, ignoreIllegals: true });
    code.replaceChildren(safeCode(value));
  });
}

/** @param {import("../md.mjs").Labels} labels */
function copyButton(labels) {
  const button = /** @type {HTMLButtonElement} */ (createElement("button", "copy", labels.copy));
  button.type = "button";
  return button;
}

/** @param {string} tag @param {string} name its class @param {(string | Node)[]} inside */
function createElement(tag, name, ...inside) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside);
  return element;
}
