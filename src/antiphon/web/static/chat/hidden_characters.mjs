/**
 * Invisible characters in a text: controls, direction marks, joiners, tags, long runs of blanks.
 *
 * Untrusted text is split into pieces. Visible text stays; invisible characters become pieces that name
 * them. The table equals that of `types/terminal_safe.py`: a test compares them.
 *
 * @typedef {{kind: "text", text: string}} Seen
 * @typedef {{kind: "hidden", text: string, count: number}} Hidden  a sign, or the name of a character
 * @typedef {{kind: "tags", text: string, count: number}} Tags  letters that are written unseen
 * @typedef {{kind: "blanks", text: string, count: number}} Blanks
 * @typedef {Seen | Hidden | Tags | Blanks} Piece
 */

const CONTROLS = "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f";
const DIRECTION = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u206f";
const UNSEEN =
  "\\u2028\\u2029\\ufeff\\ufff0-\\ufffb\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}\\p{Noncharacter_Code_Point}\\ud800-\\udfff";
const JOINERS =
  "\\u00ad\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200d\\u2060-\\u2065\\u3164\\ufe00-\\ufe0f\\uffa0" +
  "\\u{13430}-\\u{13440}\\u{16fe4}\\u{1bca0}-\\u{1bca3}\\u{1d159}\\u{1d173}-\\u{1d17a}\\u{e0100}-\\u{e01ef}";

/** Longer runs of blanks are counted, because text behind them is out of sight. */
const MOST_BLANKS = 20;

/** Most characters of one kind in a row that are named one by one; longer runs are counted. */
const MOST_NAMED = 8;

const ODD = new RegExp(`[${CONTROLS}${DIRECTION}${UNSEEN}]+`, "gu");
const ODD_TO_JUDGE = new RegExp(
  `[${CONTROLS}${DIRECTION}${UNSEEN}${JOINERS}]+|[\\s\\u2800]{${MOST_BLANKS + 1},}`,
  "gu",
);
const ODD_OR_BLANK = new RegExp(`[${CONTROLS}${DIRECTION}${UNSEEN}${JOINERS}\\u2800]|(?! )[\\p{Zs}]`, "gu");
const BLANK = /^[\s\u2800]/u;
const TAG = /^[\u{e0000}-\u{e007f}]/u;

/**
 * Splits untrusted text into pieces.
 *
 * `judged` is for text that the user decides about: joiners, which scripts and emoji need elsewhere,
 * are shown too, and long runs of blanks are counted.
 *
 * @param {string} text
 * @param {boolean} [judged]
 * @returns {Piece[]}
 */
export function revealPieces(text, judged = false) {
  const whole = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
  /** @type {Piece[]} */
  const pieces = [];
  let at = 0;
  for (const odd of whole.matchAll(judged ? ODD_TO_JUDGE : ODD)) {
    if (odd.index > at) pieces.push({ kind: "text", text: whole.slice(at, odd.index) });
    pieces.push(...hiddenPieces(odd[0]));
    at = odd.index + odd[0].length;
  }
  if (at < whole.length) pieces.push({ kind: "text", text: whole.slice(at) });
  return pieces;
}

/** Returns the same as plain text on one line, for labels. @param {string} text @param {boolean} [judged] */
export function revealText(text, judged = false) {
  return revealPieces(collapseBlanks(text), judged)
    .map((piece) => piece.text)
    .join("");
}

/**
 * Collapses runs of blanks to one, and trims the text. A byte order mark is a blank to JavaScript but
 * invisible to readers, so it stays and is revealed.
 *
 * @param {string} text
 */
export const collapseBlanks = (text) => text.replace(/[^\S\ufeff]+/g, " ").replace(/^ | $/g, "");

/**
 * Escapes all invisible characters and unusual blanks in JSON text.
 *
 * @param {string} written
 */
export const escapeHidden = (written) =>
  written.replace(ODD_OR_BLANK, (odd) =>
    [...Array(odd.length).keys()].map((at) => `\\u${odd.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );

/**
 * Finds letters of other alphabets inside a word of Latin letters: `pаypal` with a Cyrillic а.
 *
 * @param {string} text
 * @returns {{at: number, letter: string}[]}
 */
export function lookalikes(text) {
  return [...text.matchAll(/[\p{L}\p{N}_]+/gu)].flatMap((word) =>
    /[A-Za-z]/.test(word[0]) && /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}]/u.test(word[0])
      ? [...word[0].matchAll(/[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}]/gu)].map((letter) => ({
          at: word.index + letter.index,
          letter: letter[0],
        }))
      : [],
  );
}

/** `U+202E` for a character. @param {string} character */
export const codeOf = (character) =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** @param {string} odd characters in a row that are not seen @returns {Piece[]} */
function hiddenPieces(odd) {
  if (BLANK.test(odd) && odd.length > MOST_BLANKS) return [{ kind: "blanks", text: `[${odd.length}]`, count: odd.length }];
  /** @type {Piece[]} */
  const pieces = [];
  for (const group of odd.match(/[\u{e0000}-\u{e007f}]+|[^\u{e0000}-\u{e007f}]+/gu) ?? []) {
    pieces.push(TAG.test(group) ? tagPiece([...group]) : namedPiece([...group]));
  }
  return pieces;
}

/** @param {string[]} characters @returns {Piece} */
function tagPiece(characters) {
  const letters = characters.map((each) => (each.codePointAt(0) ?? 0) - 0xe0000);
  const text = letters.map((code) => (code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "")).join("");
  return { kind: "tags", text, count: characters.length };
}

/** @param {string[]} characters @returns {Piece} */
function namedPiece(characters) {
  const more = characters.length - MOST_NAMED;
  const signs = characters.slice(0, MOST_NAMED).map(sign).join("");
  return { kind: "hidden", text: more > 0 ? `${signs}… +${more}` : signs, count: characters.length };
}

/** @param {string} character */
function sign(character) {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCharCode(0x2400 + code); // the pictures of control characters
  if (code === 0x7f) return "\u2421";
  if (code >= 0xd800 && code <= 0xdfff) return "\ufffd";
  return `<${codeOf(character)}>`;
}
