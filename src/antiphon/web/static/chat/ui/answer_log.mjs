/** Content of the log that screen readers read: each answer once, and on the way there how it goes on. */
import { nextAnnouncement } from "../announcements.mjs";
import { modelAt } from "../comparison.mjs";
import { revealText } from "../hidden_characters.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { outcomeOf } from "../outcome.mjs";
import { outcomeWords } from "../problems.mjs";
import { currentParts, textOf } from "../reduce.mjs";
import { BESIDE, MAIN } from "../store.mjs";
import { t } from "../t.mjs";
import { effect, html, useEffect, useSignal } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";

/** Interval of checks for an announcement. */
const LOOK_MS = 500;

/** The last answer of each pane; once in the page. */
export function AnswerLog() {
  return [MAIN, BESIDE].map((at, place) => html`<${LastAnswer} key=${place} at=${at} />`);
}

/** @param {{at: import("../store.mjs").Pane}} props */
function LastAnswer({ at }) {
  const answer = useSignal("");
  useEffect(() => watchAnswer(at, answer), []);
  return answer.value && html`<p>${answer.value}</p>`;
}

/** Returns what is said of an answer; of two, by the name of its model. @param {import("../store.mjs").Pane} at @param {string} text */
function byModel(at, text) {
  return BESIDE.current.value ? t("announce.of_model", { model: modelAt(at), text }) : text;
}

/** Looks at the answer in progress until it is told to stop. @param {import("../store.mjs").Pane} at @param {{value: string}} answer */
function watchAnswer(at, answer) {
  const { current, live, phase } = at;
  /** @type {import("../announcements.mjs").Heard} */
  let heard = null;
  /** @type {import("../reduce.mjs").Message | null} */
  let last = null;
  /** @type {string | null} */
  let announced = null;
  let away = false;
  const look = () => {
    const answering = live.value && seenOf(live.value);
    // A short answer may begin and end between two looks.
    if (!heard && !answering && last && last.id !== announced) heard = { id: last.id, spokenAt: performance.now(), seen: seenOf(last) };
    if (heard && !answering) heard = { ...heard, seen: lastSeen(heard) };
    announced = answering?.id ?? heard?.id ?? announced;
    const { heard: after, says, full } = nextAnnouncement(heard, answering, performance.now());
    heard = after;
    for (const { key, values, why } of says) announce(byModel(at, t(key, why ? { why: outcomeWords(why) } : values)));
    if (full !== null) answer.value = byModel(at, full);
    if (away !== (phase.value === "reconnecting")) {
      away = !away;
      announce(byModel(at, t(away ? "announce.reconnecting" : "announce.reconnected")));
    }
  };
  const looking = window.setInterval(look, LOOK_MS);
  const following = effect(() => {
    last = live.value ?? last;
  });
  return () => {
    window.clearInterval(looking);
    following();
  };

  /** Announces content and end that came between two checks. @param {NonNullable<import("../announcements.mjs").Heard>} of */
  function lastSeen({ id, seen }) {
    const saved = current.value?.messages.findLast((message) => message.id === id);
    const message = saved ?? (last?.id === id ? last : null);
    return message ? seenOf(message) : seen;
  }
}

/** @param {import("../reduce.mjs").Message} message */
function seenOf(message) {
  const parts = currentParts(message.parts);
  const running = parts.findLast((part) => part.type === "dynamic-tool" && part.state === "input-available");
  return {
    id: message.id,
    text: textOf(message),
    tool: running ? revealText(running.toolName) : "",
    status: message.metadata?.status ?? "",
    thinking: parts.at(-1)?.type === "reasoning",
    outcome: outcomeOf(message.metadata ?? {}, arrangeParts(parts).length === 0),
  };
}
