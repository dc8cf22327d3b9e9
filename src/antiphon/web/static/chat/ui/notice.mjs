/** Notice on what went wrong, or ended early: a mark, and beside it the words and what can be done. */
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";

/**
 * @typedef {object} NoticeProps
 * @property {"warn" | "stop"} [icon]
 * @property {boolean} [bad]  true if it is an error
 * @property {string} [role]  `alert` for what has just happened
 * @property {string} [className]
 * @property {any} text  untrusted words are escaped, as everywhere
 * @property {string | null} [hint]  what to do about it
 * @property {any} [children]  buttons
 */

/** @param {NoticeProps} props */
export function Notice({ icon = "warn", bad = false, role, className = "", text, hint = null, children }) {
  return html`<div class=${`notice ${bad ? "bad" : ""} ${className}`} role=${role}>
    <${Icon} name=${icon} size=${18} />
    <div class="notice-words">
      <p class="notice-text" dir="auto">${text}</p>
      ${hint && html`<p class="notice-hint">${hint}</p>`}
      ${children && html`<div class="row notice-actions">${children}</div>`}
    </div>
  </div>`;
}
