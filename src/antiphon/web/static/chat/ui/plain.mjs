/** Untrusted text: invisible characters are revealed, long text is cut and can be opened. */
import { html, useLayoutEffect, useMemo } from "../vendor/ui.mjs";
import { useFold } from "../folds.mjs";
import { wholeCharacters } from "../characters.mjs";
import { joinTokens, layOut } from "../json.mjs";
import { formatBytes } from "../units.mjs";
import { language, t } from "../t.mjs";
import { Revealed } from "./word.mjs";

/** Characters and lines that are shown at first. */
const LIMIT = 1600;
const LINES = 16;

/** Limit on coloured tokens of JSON; the rest is plain text. */
const MOST_COLOURED = 20_000;

/** Characters of a block. Browsers lay out only visible blocks. */
const BLOCK = 6000;

/**
 * A text, cut after so many characters and lines, with a way to see all of it.
 *
 * `json`: laid out where it is JSON. `judged`: a person decides upon it, so even joiners show.
 * `name`: what was opened is remembered by it. `onCut` is told whether something of it is cut.
 *
 * @param {{text: string, name: string, limit?: number, lines?: number, json?: boolean, judged?: boolean, label?: string, onCut?: (cut: boolean) => void}} props
 */
export function Plain({ text, name, limit = LIMIT, lines = LINES, json = false, judged = false, label, onCut }) {
  const [all, setAll] = useFold(`all:${name}`, false);
  const shown = useMemo(() => prepareText(text, json, all ? Infinity : limit, all ? Infinity : lines), [text, json, all, limit, lines]);
  const toggle = () => setAll(!all);
  useLayoutEffect(() => onCut?.(!shown.whole), [shown.whole]);
  const long = all && text.length > limit;
  return html`<div class="plain">
    <pre
      class=${long ? "plain-text all" : "plain-text"} dir=${json && shown.tokens ? "ltr" : "auto"}
      role=${long ? "region" : undefined} aria-label=${long ? label : undefined} tabindex=${long ? 0 : undefined}
    >${shown.tokens ? html`<${Tokens} tokens=${shown.tokens} judged=${judged} />` : html`<${Blocks} text=${shown.text} judged=${judged} />`}${!shown.whole && html`<span class="muted">…</span>`}</pre>
    ${(!shown.whole || all) &&
    html`<button type="button" class="plain-more" aria-expanded=${all} onClick=${toggle}>
      ${all ? t("plain.less") : t("plain.all", { size: formatBytes(text.length, language.value) })}
    </button>`}
  </div>`;
}

/** @param {{tokens: import("../json.mjs").Token[], judged: boolean}} props */
function Tokens({ tokens, judged }) {
  return tokens.map(({ kind, text }) =>
    kind === "mark" ? text : html`<span class=${`json-${kind}`}><${Revealed} text=${text} judged=${judged} /></span>`,
  );
}

/** @param {{text: string, judged: boolean}} props */
function Blocks({ text, judged }) {
  if (text.length <= BLOCK) return html`<${Revealed} text=${text} judged=${judged} />`;
  return splitBlocks(text).map((block, place) => html`<span class="plain-block" key=${place}><${Revealed} text=${block} judged=${judged} /></span>`);
}

/**
 * Returns the part of a text to draw: tokens of JSON, or text up to the limits.
 *
 * @param {string} text
 * @param {boolean} json
 * @param {number} limit
 * @param {number} lines
 */
function prepareText(text, json, limit, lines) {
  const laid = json ? layOut(text, limit) : null;
  if (!laid) return cutText(text, limit, lines);
  const written = joinTokens(laid.tokens);
  const first = cutText(written, limit, lines);
  if (!first.whole) return { ...first, tokens: firstTokens(laid.tokens, first.text.length) };
  return written.length <= MOST_COLOURED ? { text: written, tokens: laid.tokens, whole: laid.whole } : { text: written, whole: laid.whole };
}

/** @param {import("../json.mjs").Token[]} tokens @param {number} most */
function firstTokens(tokens, most) {
  const kept = [];
  let length = 0;
  for (const token of tokens) {
    if (length >= most) break;
    kept.push({ ...token, text: token.text.slice(0, most - length) });
    length += token.text.length;
  }
  return kept;
}

/**
 * The beginning of a text.
 *
 * @param {string} text
 * @param {number} limit
 * @param {number} lines
 * @returns {{text: string, whole: boolean, tokens?: import("../json.mjs").Token[]}}
 */
function cutText(text, limit, lines) {
  let end = text.length > limit ? wholeCharacters(text, limit) : text.length;
  for (let at = -1, line = 1; line <= lines; line += 1) {
    at = text.indexOf("\n", at + 1);
    if (at < 0 || at >= end) return { text: text.slice(0, end), whole: end === text.length };
    if (line === lines && /\S/.test(text.slice(at, at + 400))) end = at;
  }
  return { text: text.slice(0, end), whole: end === text.length };
}

/** Blocks that end where a line ends, if one does. @param {string} text */
function splitBlocks(text) {
  const found = [];
  for (let at = 0; at < text.length; ) {
    const rest = text.length - at;
    const line = rest > BLOCK ? text.lastIndexOf("\n", at + BLOCK) : -1;
    const end = rest <= BLOCK ? text.length : line > at ? line : wholeCharacters(text, at + BLOCK);
    found.push(text.slice(at, end));
    at = end === line ? end + 1 : end; // a block breaks the line by itself
  }
  return found;
}
