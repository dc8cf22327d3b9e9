/**
 * Sanitizer: the only place where markup becomes part of the page, through DOMPurify.
 *
 * The markup is escaped already; this is the second line of defence. The page's Trusted Types policy
 * admits no other way.
 */
import DOMPurify from "../vendor/dompurify.mjs";

const TEXT = {
  ALLOWED_TAGS: `a blockquote br code del em h3 h4 h5 h6 hr img input li ol p pre strong table tbody td th thead tr ul`
    .split(" ")
    .concat("#text"),
  ALLOWED_ATTR: ["alt", "checked", "class", "disabled", "href", "src", "start", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|\/api\/files\/[\w-]+(?:\?inline=1)?$)/i,
  ADD_URI_SAFE_ATTR: ["checked", "disabled", "start", "type"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const CODE = { ...TEXT, ALLOWED_TAGS: ["span", "#text"], ALLOWED_ATTR: ["class"] };

/** Returns the fragment of a block, without active content. */
export function safeText(/** @type {string} */ markup) {
  return /** @type {DocumentFragment} */ (DOMPurify.sanitize(markup, TEXT));
}

/** Returns the fragment of coloured code: words in spans. */
export function safeCode(/** @type {string} */ markup) {
  return /** @type {DocumentFragment} */ (DOMPurify.sanitize(markup, CODE));
}
