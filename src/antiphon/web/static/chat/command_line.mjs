/** Command lines as shells of POSIX read and write them: words, quotes, backslashes; nothing is filled in. */

/** Characters that stand for themselves in a word. */
const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/**
 * Returns the words of a command line; null if a quote is not closed.
 *
 * @param {string} text
 * @returns {string[] | null}
 */
export function splitCommand(text) {
  /** @type {string[]} */
  const words = [];
  /** @type {string | null} */
  let word = null;
  let quote = "";
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === quote) quote = "";
    else if (letter === "\\" && quote !== "'" && isEscape(text[at + 1], quote)) {
      at += 1;
      word = (word ?? "") + text[at];
    } else if (!quote && (letter === "'" || letter === '"')) {
      quote = letter;
      word ??= "";
    } else if (!quote && /\s/.test(letter)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + letter;
  }
  if (quote) return null;
  return word === null ? words : [...words, word];
}

/** Returns whether a backslash before this letter is not meant itself. @param {string | undefined} letter @param {string} quote */
function isEscape(letter, quote) {
  return letter !== undefined && (quote === "" || letter === '"' || letter === "\\" || letter === "$" || letter === "`");
}

/** Returns the words as one line that a shell splits into the same words. @param {string[]} words */
export function joinCommand(words) {
  return words.map((word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}
