/** Links and pictures in an answer: each link shows its destination, and nothing is loaded from elsewhere. */
import { isOwnFile } from "./grammar.mjs";

/**
 * Sets the attributes of a link, or replaces a link to a disallowed address by its text.
 *
 * @param {HTMLAnchorElement} link
 */
export function dressLink(link) {
  const address = link.getAttribute("href") ?? "";
  const url = isOwnFile(address) ? null : webAddress(address);
  if (!url && !isOwnFile(address)) return link.replaceWith(...link.childNodes);
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  if (!url) return undefined;
  link.title = url.href;
  const place = unnamedDestination(link.textContent ?? "", url);
  if (place) link.append(" ", hostMark(place));
  return undefined;
}

/** Keeps a picture only if it is a file of this server. */
export function dressPicture(/** @type {HTMLImageElement} */ picture) {
  if (!isOwnFile(picture.getAttribute("src") ?? "")) return picture.replaceWith(picture.alt);
  picture.loading = "lazy";
  picture.decoding = "async";
  return undefined;
}

/**
 * Returns the destination of a link if its text does not name it; else "".
 *
 * @param {string} words
 * @param {URL} url
 */
export function unnamedDestination(words, url) {
  if (url.protocol === "mailto:") return words.includes(url.pathname) ? "" : url.pathname.slice(0, 80);
  const told = webAddress(words.trim()) ?? webAddress(`https://${words.trim()}`);
  const plain = /^[\x21-\x7e]+$/.test(words.trim()); // letters of other scripts look like these
  const honest = plain && told?.host === url.host && !url.username && !url.password && !told.username;
  return honest ? "" : url.host;
}

/** Returns the address if links in an answer may open it; else null. */
export function webAddress(/** @type {string} */ address) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(address) || !URL.canParse(address)) return null;
  return new URL(address);
}

/** @param {string} place */
function hostMark(place) {
  const mark = document.createElement("span");
  mark.className = "link-host";
  mark.textContent = place;
  return mark;
}
