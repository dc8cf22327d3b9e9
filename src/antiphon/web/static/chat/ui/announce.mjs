/**
 * Live regions for screen readers: a status that is read when it changes, and a log that gets each
 * answer once. Both are invisible and take no focus.
 */
import { t } from "../t.mjs";
import { html, signal } from "../vendor/ui.mjs";
import { laterView } from "./later_view.mjs";

const AnswerLog = laterView(() => import("./answer_log.mjs").then((module) => module.AnswerLog), { silent: true });

/** Announcements that are kept: one that is removed too early is not read. */
const KEPT = 3;

/** @type {{value: {number: number, text: string}[]}} */
const sayings = signal([]);
let number = 0;

/** Announces a text after the current one. @param {string} text */
export function announce(text) {
  number += 1;
  sayings.value = [...sayings.value, { number, text }].slice(-KEPT);
}

/** The two regions; once in the page. */
export function Announcer() {
  return html`
    <div class="visually-hidden" role="status" aria-live="polite" data-announced="status">
      ${sayings.value.map((saying) => html`<p key=${saying.number}>${saying.text}</p>`)}
    </div>
    <div class="visually-hidden" role="log" aria-live="polite" aria-label=${t("announce.log")} data-announced="log"><${AnswerLog} /></div>
  `;
}
