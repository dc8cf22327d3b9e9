/** Numbers at the links of an answer that lead to its sources. */

/** Puts a number behind each link to a source. @param {Element} answer @param {readonly import("../web_sources.mjs").Source[]} sources @param {string} label */
export function markSources(answer, sources, label) {
  for (const mark of answer.querySelectorAll(".source-mark")) mark.remove();
  if (sources.length === 0) return;
  const numbers = new Map(sources.map(({ url }, place) => [url, place + 1]));
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (answer.querySelectorAll("a[href]"))) {
    const number = numbers.get(link.href);
    if (number !== undefined) link.after(createMark(number, label));
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
  const item = mark.closest(".message")?.querySelector(`.web-source[data-number="${mark.textContent}"]`);
  if (!(item instanceof HTMLElement)) return;
  item.scrollIntoView({ block: "nearest" });
  item.querySelector("a")?.focus({ preventScroll: true });
}
