/**
 * Text of files: how far the server has read it, and the pages on which an answer stands.
 *
 * @typedef {{status: "pending" | "ready" | "failed", pages?: number, reason?: string}} DocumentState
 * @typedef {{id: string, file: string, page: number, query: string}} Source
 */
import { argumentsOf, outputOf } from "./calls.mjs";

const SEARCH = "search_documents";
const READ = "read_document";

/** Pages of a search that are sources where the model has read none. */
const FOUND = 3;

/** Sources of one answer. */
const MOST = 12;

/** Returns true if the part is a call of a tool for documents. @param {{toolName?: string}} part */
export const isDocumentCall = ({ toolName }) => toolName === SEARCH || toolName === READ;

/**
 * Returns the pages that an answer read, or if there are none, the first ones that it found.
 *
 * @param {readonly any[]} parts
 * @returns {Source[]}
 */
export function sourcesOf(parts) {
  let query = "";
  /** @type {Map<string, Source>} */
  const read = new Map();
  /** @type {Map<string, Source>} */
  const found = new Map();
  for (const part of parts) {
    if (!isDocumentCall(part) || part.state !== "output-available" || part.preliminary) continue;
    const output = parse(outputOf(part));
    if (part.toolName === READ) add(read, output, query);
    else {
      query = String(parse(argumentsOf(part))?.query ?? "").slice(0, 256);
      const results = Array.isArray(output?.results) ? output.results : [];
      for (const each of results.slice(0, FOUND)) add(found, each, query);
    }
  }
  return [...(read.size > 0 ? read : found).values()].slice(0, MOST);
}

/** @param {Map<string, Source>} sources @param {any} result @param {string} query */
function add(sources, result, query) {
  const [, id] = /^(file_[a-z0-9]+)#\d+$/.exec(String(result?.source)) ?? [];
  if (!id || !Number.isInteger(result.page) || result.page < 1) return;
  const source = { id, file: String(result.file ?? ""), page: result.page, query };
  if (!sources.has(result.source)) sources.set(result.source, source);
}

/** @param {string} text @returns {any} */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Cuts a text at its highlights, which count code points.
 *
 * @param {string} text
 * @param {readonly (readonly [number, number])[]} highlights
 * @returns {{text: string, isFound: boolean}[]}
 */
export function cutAtHighlights(text, highlights) {
  const letters = [...text];
  /** @type {{text: string, isFound: boolean}[]} */
  const pieces = [];
  let place = 0;
  for (const [start, end] of highlights) {
    if (start > place) pieces.push({ text: letters.slice(place, start).join(""), isFound: false });
    pieces.push({ text: letters.slice(start, end).join(""), isFound: true });
    place = end;
  }
  if (place < letters.length) pieces.push({ text: letters.slice(place).join(""), isFound: false });
  return pieces;
}
