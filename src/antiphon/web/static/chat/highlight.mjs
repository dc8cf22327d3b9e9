/** Marks of the words of a search in a message, drawn by the browser without a change of the page. */
import { FOUND_WORDS, unmarkWords } from "./found_words.mjs";

const LETTER = "[\\p{L}\\p{N}]";
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;
const MOST = 500;

/** Marks the words of this query in an element, and nothing elsewhere. @param {Element} element @param {string} query */
export function markWords(element, query) {
  unmarkWords();
  if (typeof Highlight === "undefined") return;
  const ranges = [];
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node && ranges.length < MOST; node = texts.nextNode()) {
    for (const [start, end] of findWords(node.nodeValue ?? "", query)) {
      const range = new Range();
      range.setStart(node, start);
      range.setEnd(node, end);
      ranges.push(range);
    }
  }
  if (ranges.length > 0) CSS.highlights.set(FOUND_WORDS, new Highlight(...ranges));
}

/**
 * Returns the places of the words as `[start, end)`, as the search finds them: case and accents do not
 * count, a word is also the beginning of a longer one, and text in quotation marks stands as it is.
 *
 * @param {string} text @param {string} query @returns {[number, number][]}
 */
export function findWords(text, query) {
  const { folded, places } = fold(text);
  /** @type {[number, number][]} */
  const found = [];
  for (const pattern of patterns(query)) {
    for (const { index, 0: word } of folded.matchAll(pattern)) found.push([places[index], places[index + word.length]]);
  }
  return found.sort((one, other) => one[0] - other[0]);
}

/** The words of a query as patterns of folded text; they hold letters and digits alone. */
function* patterns(/** @type {string} */ query) {
  for (const [, quoted, part] of query.matchAll(/"([^"]*)"|(\S+)/g)) {
    const words = fold(quoted ?? part).folded.match(/[\p{L}\p{N}]+/gu);
    if (!words) continue;
    const apart = (/** @type {string} */ word) => !UNSPACED.test(word);
    const last = /** @type {string} */ (words.at(-1));
    const begins = apart(words[0]) ? `(?<!${LETTER})` : "";
    const isPrefix = quoted === undefined && [...last].length > 1;
    const ends = !apart(last) ? "" : isPrefix ? `${LETTER}*` : `(?!${LETTER})`;
    yield new RegExp(begins + words.join("[^\\p{L}\\p{N}]+") + ends, "gu");
  }
}

/** Text without case and accents; `places` are the indexes in the text of its characters, and its end. */
function fold(/** @type {string} */ text) {
  let folded = "";
  const places = [];
  let place = 0;
  for (const character of text) {
    const plain = character.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
    // Composed again, so that a syllable of Hangul stays one character.
    for (const unit of plain.normalize("NFC").split("")) {
      folded += unit;
      places.push(place);
    }
    place += character.length;
  }
  places.push(place);
  return { folded, places };
}
