/**
 * Sources of an answer: pages that its provider cites, and those that its tools found and its text links to.
 *
 * @typedef {{url: string, title: string, cited?: boolean}} Source  `title` is "" if none was named;
 *   `cited` by the provider, whose text may have marks such as [1] with the numbers of these
 */

/** Limits on what is searched for links: characters of one result, links of one result, depth of its JSON. */
const MOST_TEXT = 200_000;
const MOST_LINKS = 100;
const MOST_DEPTH = 8;
const LONGEST_TITLE = 200;

const URL_PATTERN = "https?://[^\\s<>\"'`\\]\\[{}|\\\\^]{1,2000}";
const TRAILING = /[.,;:!?)*_]+$/;
const TITLE_LINE = /^\W{0,8}title\W{1,4}(\S.{0,300})/i;

/**
 * Returns the sources of an answer: the provider's in the order of its list, then others in the order in
 * which the text links to them.
 *
 * @param {readonly import("./reduce.mjs").Part[]} parts
 * @returns {Source[]}
 */
export function webSourcesOf(parts) {
  const cited = citedSources(parts.filter(({ type }) => type === "source-url"));
  const texts = parts.filter(({ type }) => type === "text").map(({ text }) => text);
  if (!texts.some((text) => text.includes("http"))) return cited;
  /** @type {Map<string, string>} titles by address */
  const found = new Map();
  for (const { type, state, output } of parts) {
    if (type !== "dynamic-tool" || state !== "output-available" || typeof output !== "string") continue;
    for (const [url, title] of linksIn(output.slice(0, MOST_TEXT))) if (!found.get(url)) found.set(url, title);
  }
  const known = new Set(cited.map(({ url }) => url));
  const linked = texts.flatMap((text) => text.match(new RegExp(URL_PATTERN, "g")) ?? []).map(normalAddress);
  const more = [...new Set(linked)].filter((url) => url !== "" && found.has(url) && !known.has(url));
  return [...cited, ...more.map((url) => ({ url, title: found.get(url) ?? "" }))];
}

/** Returns the pages that a provider cites, each once. @param {readonly {url?: any, title?: any}[]} pages @returns {Source[]} */
export function citedSources(pages) {
  /** @type {Map<string, string>} titles by address */
  const found = new Map();
  for (const { url, title } of pages) {
    if (typeof url !== "string" || !/^https?:/i.test(url) || !URL.canParse(url)) continue;
    const { href } = new URL(url);
    found.set(href, found.get(href) || (typeof title === "string" ? title.slice(0, LONGEST_TITLE) : ""));
  }
  return [...found].map(([url, title]) => ({ url, title, cited: true }));
}

/** Returns an address of the web without what follows it in a sentence, as browsers write it; "" for others. @param {string} text */
export function normalAddress(text) {
  const trimmed = text.replace(TRAILING, "");
  const isOpen = text[trimmed.length] === ")" && trimmed.split("(").length > trimmed.split(")").length;
  const address = isOpen ? `${trimmed})` : trimmed;
  return /^https?:/i.test(address) && URL.canParse(address) ? new URL(address).href : "";
}

/** Returns the links of a tool's result with their titles. @param {string} output @returns {[string, string][]} */
function linksIn(output) {
  const value = /^\s*[{[]/.test(output) ? parse(output) : undefined;
  const links = value === undefined ? linksInText(output) : linksInJson(value, MOST_DEPTH);
  /** @type {[string, string][]} */
  const found = [];
  for (const [address, title] of links) {
    const url = normalAddress(address);
    if (url) found.push([url, title.trim().slice(0, LONGEST_TITLE)]);
    if (found.length === MOST_LINKS) break;
  }
  return found;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {any} value @param {number} depth @returns {Generator<[string, string]>} */
function* linksInJson(value, depth) {
  if (depth === 0) return;
  if (typeof value === "string") {
    if (new RegExp(`^${URL_PATTERN}$`).test(value)) yield [value, ""];
    return;
  }
  if (typeof value !== "object" || value === null) return;
  const own = (/** @type {string} */ name) => (Object.hasOwn(value, name) && typeof value[name] === "string" ? value[name] : "");
  const url = own("url") || own("link") || own("href") || own("uri");
  if (url) yield [url, own("title") || own("name")];
  for (const inner of Object.values(value)) yield* linksInJson(inner, depth - 1);
}

/** @param {string} text @returns {Generator<[string, string]>} */
function* linksInText(text) {
  let title = "";
  for (const line of text.split("\n")) {
    title = TITLE_LINE.exec(line)?.[1].replace(/^[*_\s]+|[*_\s]+$/g, "") ?? title;
    for (const [, label, url] of line.matchAll(new RegExp(`\\[([^\\[\\]\\n]{1,300})\\]\\((${URL_PATTERN})\\)`, "g"))) yield [url, label];
    for (const [url] of line.matchAll(new RegExp(URL_PATTERN, "g"))) {
      yield [url, title];
      title = ""; // it is that of one link
    }
  }
}
