/** Numbers at the links of an answer that lead to its sources, and in place of the provider's own marks. */

const MARK = /\[(\d{1,3})\]/g;
const NO_MARKS_IN = "a, code, pre, math, button";

/** Puts a number behind each link to a source. @param {Element} answer @param {readonly import("../web_sources.mjs").Source[]} sources @param {string} label */
export function markSources(answer, sources, label) {
  for (const mark of /** @type {NodeListOf<HTMLElement>} */ (answer.querySelectorAll(".source-mark"))) mark.replaceWith(mark.dataset.text ?? "");
  answer.normalize();
  if (sources.length === 0) return;
  const numbers = new Map(sources.map(({ url }, place) => [url, place + 1]));
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (answer.querySelectorAll("a[href]"))) {
    const number = numbers.get(link.href);
    if (number !== undefined) link.after(createMark(number, label));
  }
  const cited = sources.filter((source) => source.cited).length;
  if (cited > 0) replaceMarks(answer, cited, label);
}

/** Makes buttons of marks such as [2] whose number is that of a source. @param {Element} answer @param {number} most @param {string} label */
function replaceMarks(answer, most, label) {
  const walker = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) {
    const text = /** @type {Text} */ (walker.currentNode);
    if (text.data.includes("[") && !text.parentElement?.closest(NO_MARKS_IN)) texts.push(text);
  }
  for (const text of texts) {
    /** @type {(string | Element)[]} */
    const pieces = [];
    let end = 0;
    for (const found of text.data.matchAll(MARK)) {
      const number = Number(found[1]);
      if (number < 1 || number > most) continue;
      const mark = createMark(number, label);
      mark.dataset.text = found[0];
      pieces.push(text.data.slice(end, found.index), mark);
      end = found.index + found[0].length;
    }
    if (pieces.length > 0) text.replaceWith(...pieces, text.data.slice(end));
  }
}

/** @param {number} number @param {string} label */
function createMark(number, label) {
  const mark = document.createElement("button");
  mark.type = "button";
  mark.className = "source-mark";
  mark.textContent = String(number);
  mark.setAttribute("aria-label", `${label} ${number}`);
  return mark;
}

/** Leads from a mark to its source in the list below the answer. @param {Element} mark */
export function followSource(mark) {
  const item = mark.closest(".message, .shared-message")?.querySelector(`.web-source[data-number="${mark.textContent}"]`);
  if (!(item instanceof HTMLElement)) return;
  item.scrollIntoView({ block: "nearest" });
  item.querySelector("a")?.focus({ preventScroll: true });
}
