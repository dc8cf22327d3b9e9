/** Untrusted text within a sentence: invisible characters are revealed. */
import { html } from "../vendor/ui.mjs";
import { wholeCharacters } from "../characters.mjs";
import { codeOf, collapseBlanks, lookalikes, revealPieces } from "../hidden_characters.mjs";
import { t } from "../t.mjs";

/**
 * A foreign text within a sentence, on one line.
 *
 * @param {{text: string, judged?: boolean, most?: number}} props
 */
export function Word({ text, judged = false, most = 120 }) {
  const line = collapseBlanks(text);
  const cut = line.length > most ? `${line.slice(0, wholeCharacters(line, most))}…` : line;
  const foreign = judged ? lookalikes(cut) : [];
  return html`<bdi><${Revealed} text=${cut} judged=${judged} />${foreign.length > 0 &&
  html` <span class="hidden-sign">${t("plain.lookalikes", { letters: foreign.map(({ letter }) => `${letter} ${codeOf(letter)}`).join(", ") })}</span>`}</bdi>`;
}

/** A foreign text with what hides in it marked. @param {{text: string, judged?: boolean}} props */
export function Revealed({ text, judged = false }) {
  return revealPieces(text, judged).map((piece) => (piece.kind === "text" ? piece.text : html`<${Sign} piece=${piece} />`));
}

/** @param {{piece: import("../hidden_characters.mjs").Piece}} props */
function Sign({ piece }) {
  switch (piece.kind) {
    case "tags":
      return html`<span class="hidden-sign">${t("plain.tags", { count: piece.count, text: piece.text })}</span>`;
    case "blanks":
      return html`<span class="hidden-sign">${t("plain.blanks", { count: piece.count })}</span>`;
    default:
      return html`<span class="hidden-sign">${piece.text}</span>`;
  }
}
