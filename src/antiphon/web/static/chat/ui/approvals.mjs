/** Open questions, always in view. */
import { answer } from "../conversation_actions.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { currentParts } from "../reduce.mjs";
import { current, live } from "../store.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Approval } from "./approval.mjs";

/** The open question; the others are lines that open in its place. Exists once in the page. */
export function Approvals() {
  const [chosen, setChosen] = useState(/** @type {string | null} */ (null));
  const message = live.value ?? current.value?.messages.at(-1);
  if (!message || message.role === "user") return null;
  const questions = arrangeParts(currentParts(message.parts, { live: message === live.value })).filter((piece) => piece.kind === "approval");
  if (questions.length === 0) return null;
  const open = questions.find(({ data }) => data.approvalId === chosen) ?? questions[0];
  return html`<div class="approvals">
    ${questions.map(
      ({ data }) => html`<${Approval}
        key=${data.approvalId}
        data=${data}
        open=${data === open.data}
        onOpen=${() => setChosen(data.approvalId)}
        onAnswer=${(/** @type {any} */ given) => answer({ ...data, runId: message.id }, given)}
      />`,
    )}
  </div>`;
}
