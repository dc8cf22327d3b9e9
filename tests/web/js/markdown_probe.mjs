/** What the tests of Markdown do inside the page: it is served beside the modules that are tested. */
import { markdownView } from "/md.mjs";
import { setMessages } from "/t.mjs";
import { Markdown } from "/ui/markdown.mjs";
import { html, render } from "/vendor/ui.mjs";

const FORBIDDEN =
  "script, style, link, meta, base, iframe, frame, object, embed, applet, form, svg, video, audio, source, template, noscript, details, body *[id], [style], [srcdoc], [formaction], [autofocus], input:not([type=checkbox])";
const AT_ONCE = { soon: (/** @type {() => void} */ work) => work(), never: () => {} };

/** @type {string[]} */
export const acted = [];
addEventListener("securitypolicyviolation", (event) => acted.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
addEventListener("error", (event) => acted.push(`error: ${event.message}`));
for (const name of ["alert", "prompt", "confirm", "open"]) Object.assign(window, { [name]: () => acted.push(`called ${name}`) });

/** A place in the page and a view of it, whose drawing waits for nothing. */
export function fresh() {
  const place = document.createElement("div");
  place.className = "markdown";
  document.querySelector("main").replaceChildren(place);
  return { place, view: markdownView(place, { pace: AT_ONCE }) };
}

/** Formulas and colours are there at once from now on. */
export async function loadLibraries() {
  const { place, view } = fresh();
  view.finish("$x$\n\n```js\nlet x\n```\n");
  while (!place.querySelector("math") || !place.querySelector(".hljs-keyword")) await frame();
}

export const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Of texts with their cuts, those that look otherwise in pieces than at once; a line each. */
export function unequal(documents) {
  return documents.filter(([text, cuts]) => inPieces(text, cuts) !== atOnce(text)).map(([text]) => text);
}

function inPieces(text, cuts) {
  const { place, view } = fresh();
  for (const cut of cuts) view.update(text.slice(0, cut));
  view.finish(text);
  return place.innerHTML;
}

function atOnce(text) {
  const { place, view } = fresh();
  view.finish(text);
  return place.innerHTML;
}

/** Shows a text that is complete. */
export function show(text) {
  const { view } = fresh();
  view.finish(text);
}

/** Which of the elements that are shown after the first text are there after the second. */
export function kept(first, second, which = ".markdown > *") {
  const { place, view } = fresh();
  view.update(first);
  const before = [...place.querySelectorAll(which)];
  view.update(second);
  return before.map((element) => place.contains(element));
}

/** How often the page changes while a text comes in many pieces within two frames. */
export async function drawingsOf(text) {
  const place = document.querySelector("main").appendChild(document.createElement("div"));
  const view = markdownView(place);
  let drawings = 0;
  new MutationObserver(() => drawings++).observe(place, { childList: true, subtree: true, characterData: true });
  await frame();
  for (let end = 1; end <= text.length; end++) view.update(text.slice(0, end));
  await frame();
  await frame();
  return { drawings, words: place.textContent };
}

/** The element for other elements, with the words that it has for its buttons. */
export async function asElement(text) {
  setMessages("en", { "markdown.copy": "Copy it", "markdown.code": "Code" });
  render(html`<${Markdown} text=${text} />`, document.querySelector("main"));
  return document.querySelector("main").innerHTML;
}

/** What is wrong with a text that comes letter by letter, and in two pieces cut anywhere. */
export function wrongsOf(text) {
  const wrongs = new Set();
  const look = (place) => wrongsIn(place).forEach((wrong) => wrongs.add(wrong));
  const { place, view } = fresh();
  for (let end = 1; end <= text.length; end++) {
    view.update(text.slice(0, end));
    look(place);
    const other = fresh();
    other.view.update(text.slice(0, end));
    look(other.place);
    other.view.update(text);
    look(other.place);
    other.view.finish(text);
    look(other.place);
  }
  acted.splice(0).forEach((wrong) => wrongs.add(wrong));
  return [...wrongs];
}

export function wrongsIn(place) {
  const forbidden = [...place.querySelectorAll(FORBIDDEN)].map((element) => element.outerHTML);
  return [...forbidden, ...[...place.querySelectorAll("*")].flatMap(wrongAttributes)];
}

function wrongAttributes(/** @type {Element} */ element) {
  return [...element.attributes].filter(isWrong).map(({ name, value }) => `${element.localName} ${name}=${value}`);
}

function isWrong({ name, value }) {
  if (/^on|:|^(?:background|ping|poster|srcset|action|data)/.test(name)) return true;
  if (name === "src") return !isOwn(value);
  if (name === "href") return !/^(?:https?:\/\/|mailto:)/i.test(value) && !isOwn(value);
  return false;
}

const isOwn = (value) => /^\/api\/files\/[\w-]+(?:\?inline=1)?$/.test(value);
