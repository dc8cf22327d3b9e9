/** Functions of the Markdown tests inside the page: served beside the modules that are tested. */
import { markdownView } from "/md.mjs";
import { setMessages } from "/t.mjs";
import { Markdown } from "/ui/markdown.mjs";
import { html, render } from "/vendor/ui.mjs";

const FORBIDDEN =
  "script, style, link, meta, base, iframe, frame, object, embed, applet, form, svg, video, audio, source, template, noscript, details, body *[id], [style], [srcdoc], [formaction], [autofocus], input:not([type=checkbox])";
const AT_ONCE = { soon: (/** @type {() => void} */ work) => work(), never: () => {} };

/** @type {string[]} */
export const incidents = [];
addEventListener("securitypolicyviolation", (event) => incidents.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
addEventListener("error", (event) => incidents.push(`error: ${event.message}`));
for (const name of ["alert", "prompt", "confirm", "open"]) Object.assign(window, { [name]: () => incidents.push(`called ${name}`) });

/** Return a place in the page and a view of it that draws without waiting. */
export function createView() {
  const place = document.createElement("div");
  place.className = "markdown";
  document.querySelector("main").replaceChildren(place);
  return { place, view: markdownView(place, { pace: AT_ONCE }) };
}

/** Load the libraries of formulas and colours, so that later views use them at once. */
export async function loadLibraries() {
  const { place, view } = createView();
  view.finish("$x$\n\n```js\nlet x\n```\n");
  while (!place.querySelector("math") || !place.querySelector(".hljs-keyword")) await frame();
}

export const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Return the texts that look different in pieces than at once. */
export function findDifferences(documents) {
  return documents.filter(([text, cuts]) => renderInPieces(text, cuts) !== renderAtOnce(text)).map(([text]) => text);
}

function renderInPieces(text, cuts) {
  const { place, view } = createView();
  for (const cut of cuts) view.update(text.slice(0, cut));
  view.finish(text);
  return place.innerHTML;
}

function renderAtOnce(text) {
  const { place, view } = createView();
  view.finish(text);
  return place.innerHTML;
}

/** Show a text that is complete. */
export function show(text) {
  const { view } = createView();
  view.finish(text);
}

/** Return for each element of the first text if it is still there after the second. */
export function areKept(first, second, selector = ".markdown > *") {
  const { place, view } = createView();
  view.update(first);
  const before = [...place.querySelectorAll(selector)];
  view.update(second);
  return before.map((element) => place.contains(element));
}

/** Count the changes of the page while a text comes in many pieces within two frames. */
export async function countDrawings(text) {
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

/** Render the element for other elements, with texts for its buttons; return its markup. */
export async function renderElement(text) {
  setMessages("en", { "markdown.copy": "Copy it", "markdown.code": "Code" });
  render(html`<${Markdown} text=${text} />`, document.querySelector("main"));
  return document.querySelector("main").innerHTML;
}

/** Return the faults of a text that comes letter by letter, and in two pieces cut anywhere. */
export function findFaults(text) {
  const faults = new Set();
  const collect = (place) => faultsIn(place).forEach((fault) => faults.add(fault));
  const { place, view } = createView();
  for (let end = 1; end <= text.length; end++) {
    view.update(text.slice(0, end));
    collect(place);
    const other = createView();
    other.view.update(text.slice(0, end));
    collect(other.place);
    other.view.update(text);
    collect(other.place);
    other.view.finish(text);
    collect(other.place);
  }
  incidents.splice(0).forEach((fault) => faults.add(fault));
  return [...faults];
}

export function faultsIn(place) {
  const forbidden = [...place.querySelectorAll(FORBIDDEN)].map((element) => element.outerHTML);
  return [...forbidden, ...[...place.querySelectorAll("*")].flatMap(faultyAttributes)];
}

function faultyAttributes(/** @type {Element} */ element) {
  return [...element.attributes].filter(isFaulty).map(({ name, value }) => `${element.localName} ${name}=${value}`);
}

function isFaulty({ name, value }) {
  if (/^on|:|^(?:background|ping|poster|srcset|action|data)/.test(name)) return true;
  if (name === "src") return !isOwn(value);
  if (name === "href") return !/^(?:https?:\/\/|mailto:)/i.test(value) && !isOwn(value);
  return false;
}

const isOwn = (value) => /^\/api\/files\/[\w-]+(?:\?inline=1)?$/.test(value);
