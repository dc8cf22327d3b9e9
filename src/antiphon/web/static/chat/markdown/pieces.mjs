/**
 * Division of long texts into pieces that a browser lays out one by one.
 *
 * Layout is quadratic in the length of a line whose letters shape each other: many marks on one letter,
 * a script without blanks, frequent changes of direction. Only such texts are divided. The text itself
 * does not change, so a copy is exact.
 */
import { wholeCharacters } from "../characters.mjs";

/** UTF-16 units of a piece. */
const PIECE = 500;
/** Texts shorter than this are never divided. */
const SHORT = 1000;
/** Changes of direction beyond which a text is divided. */
const MOST_TURNS = 500;

const STACKED = /\p{M}{100}/u;
const UNBROKEN = /[^\x00-\x7f\s]{1000}/u;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]+/gu;
const BLOCKS = new Set("BLOCKQUOTE DIV LI OL P PRE TABLE UL".split(" "));

/** Returns true if layout of the text in one line would be superlinear. @param {string} text */
export function isHardToLayOut(text) {
  if (text.length < SHORT) return false;
  return STACKED.test(text) || UNBROKEN.test(text) || (text.match(RIGHT_TO_LEFT)?.length ?? 0) > MOST_TURNS;
}

/** Divides the contents of an element into pieces, except blocks inside it. @param {Element} element */
export function divide(element) {
  /** @type {Node[]} */
  const divided = [];
  /** @type {Node[]} */
  let piece = [];
  let length = 0;
  const close = () => {
    if (piece.length) divided.push(pieceOf(piece));
    [piece, length] = [[], 0];
  };
  for (const node of [...element.childNodes].flatMap(parts)) {
    if (BLOCKS.has(node.nodeName)) {
      close();
      divided.push(node);
      continue;
    }
    piece.push(node);
    length += node.textContent?.length ?? 0;
    if (length >= PIECE) close();
  }
  close();
  element.replaceChildren(...divided);
}

/** Returns a text node as several, or the element, divided. @param {Node} node @returns {Node[]} */
function parts(node) {
  const text = node.textContent ?? "";
  if (node.nodeType === Node.TEXT_NODE) return slices(text).map((slice) => document.createTextNode(slice));
  if (text.length > PIECE && !BLOCKS.has(node.nodeName)) divide(/** @type {Element} */ (node));
  return [node];
}

/** @param {string} text */
function slices(text) {
  const found = [];
  for (let at = 0; at < text.length; ) {
    const end = wholeCharacters(text, at + PIECE);
    found.push(text.slice(at, end));
    at = end;
  }
  return found;
}

/** @param {Node[]} nodes */
function pieceOf(nodes) {
  const piece = document.createElement("span");
  piece.className = "piece";
  piece.append(...nodes);
  return piece;
}
