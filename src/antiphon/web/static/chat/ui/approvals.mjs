/** Open questions, always in view. */
import { modelAt } from "../comparison.mjs";
import { answer } from "../conversation_actions.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { currentParts } from "../reduce.mjs";
import { BESIDE, MAIN } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { laterView } from "./later_view.mjs";

const Approval = laterView(() => import("./approval.mjs").then((module) => module.Approval));

/**
 * The open question; the others are lines that open in its place. Questions about one tool can be
 * allowed together once each of them was seen. Exists once in the page.
 */
export function Approvals() {
  const [chosen, setChosen] = useState(/** @type {string | null} */ (null));
  const [seen, setSeen] = useState(/** @type {ReadonlySet<string>} */ (new Set()));
  const questions = [MAIN, BESIDE].flatMap(questionsAt);
  if (questions.length === 0) return null;
  const open = questions.find(({ data }) => data.approvalId === chosen) ?? questions[0];
  // What a hook leaves to a person is decided one by one.
  const alike = questions.filter(({ data, run }) => !data.eachTime && run === open.run && toolOf(data) === toolOf(open.data)).map(({ data }) => data);
  const unseen = alike.find((data) => data !== open.data && !seen.has(nameOf(data)));
  const answerTo = (/** @type {any} */ data, /** @type {any} */ given, runId = open.run) => answer({ ...data, runId }, given);
  const allowAll = async () => {
    // The open question is the last: with its answer it leaves the page, and a problem has to be seen.
    for (const data of [...alike.filter((each) => each !== open.data), open.data]) await answerTo(data, { approved: true, keep: "once", scope: "tool" });
  };
  return html`<div class="approvals">
    ${BESIDE.current.value && html`<p class="approval-model small muted" dir="auto">${t("compare.asks", { model: modelAt(open.at) })}</p>`}
    ${questions.map(
      ({ at, data, run }) => html`<${Approval}
        key=${data.approvalId}
        data=${data}
        model=${BESIDE.current.value ? modelAt(at) : ""}
        open=${data === open.data}
        isSeen=${seen.has(nameOf(data))}
        alike=${open.data.eachTime ? 0 : alike.length}
        onSeen=${() => setSeen((before) => new Set([...before, nameOf(data)]))}
        onNext=${unseen && (() => setChosen(unseen.approvalId))}
        onOpen=${() => setChosen(data.approvalId)}
        onAnswer=${(/** @type {any} */ given) => answerTo(data, given, run)}
        onAllowAll=${allowAll}
      />`,
    )}
  </div>`;
}

/** Returns the open questions of a pane; their ids hold the run, as two models may ask the same. @param {import("../store.mjs").Pane} at */
function questionsAt(at) {
  const message = at.live.value ?? at.current.value?.messages.at(-1);
  if (!message || message.role === "user") return [];
  return arrangeParts(currentParts(message.parts, { live: message === at.live.value }))
    .filter((piece) => piece.kind === "approval")
    .map(({ data }) => ({ at, run: message.id, data: { ...data, approvalId: `${message.id}:${data.approvalId}` } }));
}

/** Returns the name of a question and its arguments. @param {any} data */
const nameOf = ({ approvalId, argsHash = "" }) => `${approvalId}:${argsHash}`;

/** Returns the name of a question's tool and its server. @param {any} data */
const toolOf = ({ server = "", toolName }) => JSON.stringify([server, toolName]);
