/**
 * Syntax of footnotes in Markdown: `[^1]` in the text and `[^1]: ...` at the start of a line, as
 * extensions of marked.
 *
 * The markup is a `code` of its own class, which `footnotes.mjs` replaces: the text comes before its
 * notes, so it is known at the end only whether a mark has one.
 */

/** A note: its first line, and lines that are indented. */
const NOTE = /^\[\^([^\]\s]{1,40})\]:[ \t]*([^\n]*(?:\n[ \t]+[^\s][^\n]*)*)(?:\n|$)/;
const MARK = /^\[\^([^\]\s]{1,40})\](?!:)/;
/** Longest note; a longer one stays text. */
const LONGEST = 4000;

/** Extension of marked for notes. */
export const blockFootnote = {
  name: "footnote",
  level: /** @type {const} */ ("block"),
  childTokens: ["tokens"],
  /** Returns the start of the next note in a paragraph. */
  start(/** @type {string} */ source) {
    const paragraph = source.slice(0, LONGEST);
    const end = paragraph.search(/\n[ \t]*\n/);
    const found = paragraph.slice(0, end < 0 ? undefined : end).search(/\n\[\^[^\]\s]{1,40}\]:/);
    return found < 0 ? undefined : found + 1;
  },
  tokenizer(/** @type {string} */ source) {
    if (!source.startsWith("[^")) return undefined;
    const found = NOTE.exec(source.slice(0, LONGEST));
    if (!found) return undefined;
    /** @type {any} */
    const token = { type: "footnote", raw: found[0], label: found[1], tokens: [] };
    /** @type {any} */ (this).lexer.inline(found[2].replace(/\n[ \t]+/g, "\n"), token.tokens);
    return token;
  },
};

/** Extension of marked for the marks in the text. */
export const inlineFootnote = {
  name: "footnoteMark",
  level: /** @type {const} */ ("inline"),
  start: (/** @type {string} */ source) => source.indexOf("[^"),
  tokenizer(/** @type {string} */ source) {
    const found = source.startsWith("[^") ? MARK.exec(source.slice(0, 50)) : null;
    return found ? { type: "footnoteMark", raw: found[0], label: found[1] } : undefined;
  },
};
