/** Content of the log that screen readers read: each answer once, and on the way there how it goes on. */
import { nextAnnouncement } from "../announcements.mjs";
import { revealText } from "../hidden_characters.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { outcomeOf } from "../outcome.mjs";
import { outcomeWords } from "../problems.mjs";
import { currentParts, textOf } from "../reduce.mjs";
import { current, live, phase } from "../store.mjs";
import { t } from "../t.mjs";
import { effect, html, signal, useEffect } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";

/** Interval of checks for an announcement. */
const LOOK_MS = 500;

const answer = signal("");

/** The last answer; once in the page. */
export function AnswerLog() {
  useEffect(watchAnswer, []);
  return answer.value && html`<p>${answer.value}</p>`;
}

/** Looks at the answer in progress until it is told to stop. */
function watchAnswer() {
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
    for (const { key, values, why } of says) announce(t(key, why ? { why: outcomeWords(why) } : values));
    if (full !== null) answer.value = full;
    if (away !== (phase.value === "reconnecting")) {
      away = !away;
      announce(t(away ? "announce.reconnecting" : "announce.reconnected"));
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
