/** Footnotes of an answer: marks in the text that lead to their notes, and back. */

/** Characters of a note that are shown at its mark. */
const SHOWN = 300;

/** Replaces a mark or the name of a note by a button. @param {Element} code @param {import("../md.mjs").Labels} labels */
export function dressFootnote(code, labels) {
  const label = code.textContent ?? "";
  if (code.closest("a")) return code.replaceWith(`[^${label}]`); // a link holds no button
  const isMark = code.classList.contains("footnote-mark");
  const button = document.createElement("button");
  button.type = "button";
  button.className = isMark ? "footnote-mark" : "footnote-name";
  button.textContent = label;
  button.setAttribute("aria-label", `${isMark ? labels.footnote : labels.toText} ${label}`);
  return code.replaceWith(button);
}

/** Shows a note at its marks; marks without a note were text. @param {Element} answer */
export function settleFootnotes(answer) {
  const notes = new Map([...answer.querySelectorAll(".footnote-name")].map((name) => [labelOf(name), name.closest("p")]));
  for (const mark of answer.querySelectorAll("button.footnote-mark")) {
    const note = notes.get(labelOf(mark));
    if (!note) mark.replaceWith(`[^${labelOf(mark)}]`);
    else /** @type {HTMLElement} */ (mark).title = (note.textContent ?? "").slice(labelOf(mark).length, SHOWN).trim();
  }
}

/** Goes from a mark to its note, or from a note to its first mark. @param {Element} button @param {Element} answer */
export function followFootnote(button, answer) {
  const other = button.matches(".footnote-mark") ? ".footnote-name" : button.matches(".footnote-name") ? ".footnote-mark" : null;
  const found = other && [...answer.querySelectorAll(other)].find((each) => labelOf(each) === labelOf(button));
  if (!(found instanceof HTMLElement)) return;
  found.scrollIntoView({ block: "nearest" });
  found.focus({ preventScroll: true });
}

/** @param {Element} button */
const labelOf = (button) => button.textContent ?? "";
