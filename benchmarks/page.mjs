/** Draws an answer in the page piece by piece, as frames would, and returns the time of each drawing. */
import { safeCode, safeText } from "/markdown/sanitize.mjs";
import { markdownView } from "/md.mjs";
import highlighter from "/vendor/highlight.mjs";
import { marked } from "/vendor/marked.mjs";

const AT_ONCE = { soon: (/** @type {() => void} */ work) => work(), never: () => {} };

/** Milliseconds of each drawing with its layout, the last one of the whole answer. */
export async function incremental(text, step) {
  const { element, layOut } = emptyElement();
  const view = markdownView(element, { pace: AT_ONCE });
  return timeDrawings(text, step, layOut, view.update, view.finish);
}

/** The same, but each drawing parses, cleans and colours the whole answer again. */
export async function naive(text, step) {
  const { element, layOut } = emptyElement();
  const draw = (prefix) => {
    element.replaceChildren(safeText(marked.parse(prefix)));
    for (const code of element.querySelectorAll("pre code[class]")) {
      const language = code.className.replace("language-", "");
      if (!highlighter.getLanguage(language)) continue;
      code.replaceChildren(safeCode(highlighter.highlight(code.textContent, { language, ignoreIllegals: true }).value));
    }
  };
  return timeDrawings(text, step, layOut, draw, draw);
}

function emptyElement() {
  const element = document.createElement("div");
  element.className = "markdown";
  document.body.replaceChildren(element);
  return { element, layOut: () => element.offsetHeight };
}

async function timeDrawings(text, step, layOut, update, finish) {
  const durations = [];
  const measure = (work) => {
    const began = performance.now();
    work();
    layOut();
    durations.push(performance.now() - began);
  };
  for (let end = step; end < text.length; end += step) {
    measure(() => update(text.slice(0, end)));
    if (durations.length % 20 === 0) await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  measure(() => finish(text));
  return durations;
}
