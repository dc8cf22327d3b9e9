/**
 * JSON laid out for reading, otherwise as it was written.
 *
 * Numbers keep all digits and duplicate names stay, both of which parsing would lose. Only the requested
 * part is laid out, so that megabytes cost no more than their beginning.
 *
 * @typedef {{kind: "mark" | "name" | "string" | "number" | "word", text: string}} Token
 * @typedef {{tokens: Token[], whole: boolean}} LaidOut  `whole`: nothing was left out
 */
import { wholeCharacters } from "./characters.mjs";
import { escapeHidden } from "./hidden_characters.mjs";

const STEP = "  ";

/** Deepest level that is indented further. */
const DEEPEST_MARGIN = 24;

/**
 * Lays out the text up to about `limit` characters; null if it is not a JSON object or list.
 *
 * A line break in a string is shown as `\n` and a line break, so that files in arguments are readable.
 * Strings cannot imitate their surroundings: their own backslashes are doubled.
 *
 * @param {string} text
 * @param {number} [limit]
 * @returns {LaidOut | null}
 */
export function layOut(text, limit = Infinity) {
  return isStructure(text) ? layOutTokens(text, limit, shownString) : null;
}

/** Lays out the text as valid JSON for an editor, with invisible characters escaped. @param {string} text */
export function layOutForEditor(text) {
  return isStructure(text) ? joinTokens(layOutTokens(text, Infinity, escapedString).tokens) : text;
}

/**
 * Returns a typed JSON object on one line. Throws a `SyntaxError`; its message is empty if the text is
 * JSON but not an object.
 *
 * @param {string} typed
 */
export function compact(typed) {
  const value = JSON.parse(typed);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("");
  return [...tokens(typed)].map((token) => (token === "," || token === ":" ? `${token} ` : token)).join("");
}

/** Returns a call's arguments on one line, long ones cut. @param {string} text @param {number} most */
export function shorten(text, most) {
  const line = isStructure(text) ? inner([...firstTokens(text, most)].join("")) : text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, wholeCharacters(line, most))}…` : line;
}

/**
 * Returns the members of an object as written, in order; null if the text is not a JSON object.
 * `length` is the length of the value in characters.
 *
 * @param {string} text
 * @returns {{name: string, value: string, length: number}[] | null}
 */
export function members(text) {
  if (!isStructure(text) || !/^\s*\{/.test(text)) return null;
  /** @type {{name: string, value: string, length: number}[]} */
  const found = [];
  /** @type {string[]} */
  let value = [];
  let name = "";
  let depth = 0;
  /** @type {"name" | "colon" | "value"} */
  let next = "name";
  for (const token of tokens(text)) {
    if (depth === 0) {
      depth = 1;
    } else if (next === "name") {
      if (token !== "}") name = JSON.parse(token);
      next = "colon";
    } else if (next === "colon") {
      next = "value";
    } else if (depth === 1 && (token === "," || token === "}")) {
      found.push({ name, ...shownValue(value.join("")) });
      value = [];
      next = "name";
    } else {
      if (token === "{" || token === "[") depth += 1;
      if (token === "}" || token === "]") depth -= 1;
      value.push(token);
    }
  }
  return found;
}

/** A value as it is shown, and its length. @param {string} written */
const shownValue = (written) =>
  written[0] === '"'
    ? { value: shownString(written), length: [...JSON.parse(written)].length }
    : { value: written, length: written.length };

/** @param {Token[]} tokens */
export const joinTokens = (tokens) => tokens.map((token) => token.text).join("");

/** @param {string} text */
function isStructure(text) {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // what is no JSON is shown as it came
  }
}

/** @param {string} line */
const inner = (line) => (line.startsWith("{") && line.endsWith("}") ? line.slice(1, -1) : line).trim();

/** @param {string} text @param {number} most @returns {Generator<string>} */
function* firstTokens(text, most) {
  let length = 0;
  for (const token of tokens(text)) {
    yield token === "," || token === ":" ? `${token} ` : token;
    length += token.length + 1;
    if (length > most + 2) return;
  }
}

/**
 * @param {string} text JSON, checked before
 * @param {number} limit
 * @param {(written: string) => string} quoted
 * @returns {LaidOut}
 */
function layOutTokens(text, limit, quoted) {
  /** @type {Token[]} */
  const laid = [];
  let length = 0;
  let depth = 0;
  let before = "";
  /** @param {Token["kind"]} kind @param {string} words */
  const put = (kind, words) => {
    const last = laid.at(-1);
    length += words.length;
    if (last && last.kind === kind) last.text += words;
    else laid.push({ kind, text: words });
  };
  const line = () => `\n${STEP.repeat(Math.min(depth, DEEPEST_MARGIN))}`;

  for (const token of tokens(text)) {
    if (length >= limit) return { tokens: markNames(laid), whole: false };
    const opened = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      put("mark", opened ? token : line() + token);
    } else {
      if (opened) put("mark", line());
      put(...drawn(token));
      if (token === "{" || token === "[") depth += 1;
      if (token === ",") put("mark", line());
    }
    before = token;
  }
  return { tokens: markNames(laid), whole: true };

  /** @param {string} token @returns {[Token["kind"], string]} */
  function drawn(token) {
    if (token[0] === '"') {
      const room = Math.max(limit - length, 0);
      return ["string", quoted(token.length > room * 6 ? `${cutString(token, room)}"` : token)];
    }
    if (token === ":") return ["mark", ": "];
    if ("{[,".includes(token)) return ["mark", token];
    return [/[\d-]/.test(token[0]) ? "number" : "word", token];
  }
}

/** Strings that a colon follows are names. @param {Token[]} laid */
function markNames(laid) {
  return laid.map((token, place) =>
    token.kind === "string" && laid[place + 1]?.text.startsWith(":") ? { ...token, kind: /** @type {const} */ ("name") } : token,
  );
}

/** The beginning of a string's writing, no escape cut in two. @param {string} written @param {number} most */
function cutString(written, most) {
  let end = Math.max(most, 1);
  let at = 1;
  while (at < end) at += written[at] === "\\" ? (written[at + 1] === "u" ? 6 : 2) : 1;
  end = wholeCharacters(written, at);
  return written.slice(0, end);
}

/** @param {string} written */
const shownString = (written) =>
  JSON.stringify(JSON.parse(written)).replace(/\\./g, (escape) => (escape === "\\n" ? "\\n\n" : escape));

/** @param {string} written */
const escapedString = (written) => escapeHidden(JSON.stringify(JSON.parse(written)));

/** The tokens of JSON that was checked before, without the blanks between them. @param {string} text @returns {Generator<string>} */
function* tokens(text) {
  let at = 0;
  while (at < text.length) {
    const end = tokenEnd(text, at);
    if (!isBlank(text.charCodeAt(at))) yield text.slice(at, end);
    at = end;
  }
}

/** @param {string} text @param {number} at */
function tokenEnd(text, at) {
  const code = text.charCodeAt(at);
  if (code === 0x22) return stringEnd(text, at);
  if (isBlank(code) || "{}[],:".includes(text[at])) return at + 1;
  let end = at + 1;
  while (end < text.length && !isBlank(text.charCodeAt(end)) && !"{}[],:".includes(text[end])) end += 1;
  return end;
}

/** @param {string} text @param {number} at */
function stringEnd(text, at) {
  let end = at + 1;
  while (text.charCodeAt(end) !== 0x22) end += text.charCodeAt(end) === 0x5c ? 2 : 1;
  return end + 1;
}

/** @param {number} code */
const isBlank = (code) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
