/**
 * What who listens to the page hears: a status that is said when it changes, and a log that gets each
 * answer once. Neither is seen, and neither takes the focus.
 */
import { html, signal, useEffect } from "../vendor/ui.mjs";
import { spoken } from "../announcing.mjs";
import { revealedText } from "../hidden.mjs";
import { standing, textOf } from "../reduce.mjs";
import { current, live, phase } from "../store.mjs";
import { t } from "../t.mjs";

/** How often it is looked whether something is to be said. */
const LOOK_MS = 500;

/** Sayings that are kept: one that is gone before it was read aloud is not heard. */
const KEPT = 3;

/** @type {{value: {number: number, text: string}[]}} */
const sayings = signal([]);
const answer = signal("");
let number = 0;

/** Says this to who listens, when they have heard what is said now. @param {string} text */
export function announce(text) {
  number += 1;
  sayings.value = [...sayings.value, { number, text }].slice(-KEPT);
}

/** The two regions; once in the page. */
export function Announcer() {
  useEffect(listening, []);
  return html`
    <div class="visually-hidden" role="status" aria-live="polite" data-announced="status">
      ${sayings.value.map((saying) => html`<p key=${saying.number}>${saying.text}</p>`)}
    </div>
    <div class="visually-hidden" role="log" aria-live="polite" aria-label=${t("announce.log")} data-announced="log">
      ${answer.value && html`<p>${answer.value}</p>`}
    </div>
  `;
}

/** Looks at the answer in progress until it is told to stop. */
function listening() {
  /** @type {import("../announcing.mjs").Heard} */
  let heard = null;
  let lost = false;
  const look = () => {
    const { heard: after, says, full } = spoken(heard, answering(), performance.now());
    heard = after && { ...after, seen: { ...after.seen } };
    for (const { key, values } of says) announce(t(key, values));
    if (full !== null) answer.value = full;
    const away = phase.value === "reconnecting";
    if (away !== lost) announce(t(away ? "announce.reconnecting" : "announce.reconnected"));
    lost = away;
  };
  const looking = window.setInterval(look, LOOK_MS);
  return () => window.clearInterval(looking);

  /** @returns {import("../announcing.mjs").Answering | null} */
  function answering() {
    const message = live.value;
    if (message) return seenOf(message);
    // What was heard of has become a saved message, which knows how it ended.
    const saved = heard && current.value?.messages.find((each) => each.id === heard?.id);
    if (saved && heard) heard = { ...heard, seen: seenOf(saved) };
    return null;
  }
}

/** @param {import("../reduce.mjs").Message} message */
function seenOf(message) {
  const parts = standing(message.parts);
  const running = parts.findLast((part) => part.type === "dynamic-tool" && part.state === "input-available");
  return {
    id: message.id,
    text: textOf(message),
    tool: running ? revealedText(running.toolName) : "",
    status: message.metadata?.status ?? "",
    thinking: parts.at(-1)?.type === "reasoning",
  };
}
