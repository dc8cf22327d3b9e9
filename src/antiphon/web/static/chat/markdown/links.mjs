/** Links and pictures in an answer: nobody is led where the words do not say, and nothing is loaded unasked. */
import { isOwnFile } from "./grammar.mjs";

/**
 * Gives a link what it needs, or takes the link from around its words when it leads nowhere good.
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
  const place = placeToSay(link.textContent ?? "", url);
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
 * Where a link leads, if its words do not tell; else "".
 *
 * @param {string} words
 * @param {URL} url
 */
export function placeToSay(words, url) {
  if (url.protocol === "mailto:") return words.includes(url.pathname) ? "" : url.pathname.slice(0, 80);
  const told = webAddress(words.trim()) ?? webAddress(`https://${words.trim()}`);
  const plain = /^[\x21-\x7e]+$/.test(words.trim()); // letters of other scripts look like these
  const honest = plain && told?.host === url.host && !url.username && !url.password && !told.username;
  return honest ? "" : url.host;
}

/** The address, if it is one that may be opened from an answer. */
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
