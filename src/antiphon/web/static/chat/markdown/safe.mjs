/**
 * Markup becomes part of the page here and nowhere else: text in, a fragment out, through DOMPurify.
 *
 * What we write ourselves is escaped already. This is the second wall, and what the page's policy
 * lets through: its Trusted Types name no other policy.
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

/** A block of an answer, without anything that could act. */
export function safeText(/** @type {string} */ markup) {
  return /** @type {DocumentFragment} */ (DOMPurify.sanitize(markup, TEXT));
}

/** Coloured code: words in spans. */
export function safeCode(/** @type {string} */ markup) {
  return /** @type {DocumentFragment} */ (DOMPurify.sanitize(markup, CODE));
}
