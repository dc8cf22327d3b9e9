/** Draws an answer in the page piece by piece, as frames would, and tells what each drawing took. */
import { safeCode, safeText } from "/markdown/sanitize.mjs";
import { markdownView } from "/md.mjs";
import highlighter from "/vendor/highlight.mjs";
import { marked } from "/vendor/marked.mjs";

const AT_ONCE = { soon: (/** @type {() => void} */ work) => work(), never: () => {} };

/** Milliseconds of each drawing with its layout, and of the last one, which draws the whole answer. */
export async function ours(text, step) {
  const { place, look } = window();
  const view = markdownView(place, { pace: AT_ONCE });
  return timed(text, step, look, view.update, view.finish);
}

/** The same by reading, cleaning and colouring everything anew each time. */
export async function naive(text, step) {
  const { place, look } = window();
  const draw = (so_far) => {
    place.replaceChildren(safeText(marked.parse(so_far)));
    for (const code of place.querySelectorAll("pre code[class]")) {
      const language = code.className.replace("language-", "");
      if (!highlighter.getLanguage(language)) continue;
      code.replaceChildren(safeCode(highlighter.highlight(code.textContent, { language, ignoreIllegals: true }).value));
    }
  };
  return timed(text, step, look, draw, draw);
}

function window() {
  const place = document.createElement("div");
  place.className = "markdown";
  document.body.replaceChildren(place);
  return { place, look: () => place.offsetHeight };
}

async function timed(text, step, look, update, finish) {
  const taken = [];
  const time = (work) => {
    const began = performance.now();
    work();
    look();
    taken.push(performance.now() - began);
  };
  for (let end = step; end < text.length; end += step) {
    time(() => update(text.slice(0, end)));
    if (taken.length % 20 === 0) await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  time(() => finish(text));
  return taken;
}
