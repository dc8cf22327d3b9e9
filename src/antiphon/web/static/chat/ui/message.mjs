/** One message of the user or the assistant. */
import { answer, edit, queueEdit, queueRemove, regenerate, retryPending, send, stopTool } from "../conversation_actions.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { messageKey } from "../history.mjs";
import { outcomeOf } from "../outcome.mjs";
import { outcomeWords } from "../problems.mjs";
import { isRefusal, currentParts, textOf } from "../reduce.mjs";
import { starting } from "../servers.mjs";
import { editing, phase, toolStatus } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/ui.mjs";
import { AttachmentList } from "./attachments.mjs";
import { BranchSwitch } from "./branches.mjs";
import { Feedback } from "./feedback.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Markdown } from "./markdown.mjs";
import { Plain } from "./plain.mjs";
import { Reasoning } from "./reasoning.mjs";
import { Tools } from "./tool.mjs";
import { MessageUsage } from "./usage.mjs";

/** Characters and lines of a user's message that are shown at first. */
const WRITTEN_CHARACTERS = 4000;
const WRITTEN_LINES = 40;
const COPIED_MS = 1500;

/** @typedef {import("../history.mjs").Message} Message */

/** @param {{message: Message, entry?: import("../outbox.mjs").Entry}} props */
export function Person({ message, entry }) {
  const text = textOf(message);
  const files = message.parts.filter((part) => part.type === "file");
  const isEdited = !entry && editing.value === messageKey(message);
  return html`<article class="message user" data-message=${message.id} data-status=${entry?.state ?? "sent"} aria-label=${t("message.person")}>
    ${isEdited
      ? html`<${Rewrite} message=${message} text=${text} />`
      : html`<div class="bubble">
          ${files.length > 0 && html`<${AttachmentList} parts=${files} />`}
          ${text && html`<div class="message-text"><${Plain} text=${text} name=${message.key ?? message.id} limit=${WRITTEN_CHARACTERS} lines=${WRITTEN_LINES} label=${t("message.person")} /></div>`}
        </div>`}
    ${entry ? html`<${Waiting} entry=${entry} />` : !isEdited && html`<${PersonBar} message=${message} text=${text} />`}
  </article>`;
}

/** Actions on a message that was not accepted yet. @param {{entry: import("../outbox.mjs").Entry}} props */
function Waiting({ entry: { id, state, fault } }) {
  if (state === "sending" && fault) return html`<p class="message-note small" role="alert">${fault} <span class="muted">${t("message.sent_by_itself")}</span></p>`;
  if (state === "sending") {
    const servers = starting.value.join(", ");
    return html`<p class="message-note muted small" role="status">${servers ? t("message.servers_starting", { servers }) : t("message.sending")}</p>`;
  }
  return html`<div class="message-note row small">
    ${state === "failed"
      ? html`<span class="message-fault" role="alert"><${Icon} name="warn" size=${16} /> ${fault}</span>
          <button type="button" class="button small" onClick=${() => retryPending(id)}>${t("common.retry")}</button>`
      : html`<span class="muted">${t("message.queued")}</span>`}
    <button type="button" class="button small quiet" onClick=${() => queueEdit(id)}>${t("message.edit")}</button>
    <button type="button" class="button small quiet" onClick=${() => queueRemove(id)}>${t("message.remove")}</button>
  </div>`;
}

/** @param {{message: Message, text: string}} props */
function PersonBar({ message, text }) {
  return html`<div class="message-bar">
    <${BranchSwitch} number=${message.metadata?.number} />
    <${Copy} text=${text} />
    <${Act} icon="edit" label=${t("message.edit")} onClick=${() => (editing.value = messageKey(message))} />
  </div>`;
}

/** Editor of a sent message. @param {{message: Message, text: string}} props */
function Rewrite({ message, text }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);
  const close = () => {
    editing.value = null;
    document.getElementById("composer")?.focus();
  };
  const save = () => {
    const written = area.current?.value ?? "";
    if (written.trim()) void edit(messageKey(message), written);
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      save();
    }
  };
  return html`<form class="rewrite" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), save())}>
    <textarea class="input" ref=${area} defaultValue=${text} dir="auto" aria-label=${t("message.edit_label")} onKeyDown=${keyed}></textarea>
    <div class="row">
      <span class="muted small grow">${t("message.edit_hint")}</span>
      <button type="button" class="button small quiet" onClick=${close}>${t("common.cancel")}</button>
      <button type="submit" class="button small primary">${t("message.send")}</button>
    </div>
  </form>`;
}

/** @param {{message: Message, live: boolean}} props */
export function Assistant({ message, live }) {
  const parts = useMemo(() => currentParts(message.parts, { live }), [message.parts, live]);
  const shown = useMemo(() => arrangeParts(parts), [parts]);
  const name = message.id;
  return html`<article class="message assistant" data-message=${message.id} data-status=${live ? "live" : (message.metadata?.status ?? "completed")} aria-label=${t("message.assistant")}>
    ${shown.map((piece) => html`<${Piece} key=${piece.name} piece=${piece} message=${message} live=${live} name=${name} />`)}
    ${parts.filter((part) => part.type === "data-compaction").length > 0 && html`<p class="message-note muted small">${t("message.compacted")}</p>`}
    ${live ? html`<${Progress} empty=${shown.length === 0} />` : html`<${Outcome} message=${message} isEmpty=${shown.length === 0} />`}
  </article>`;
}

/** @param {{piece: any, message: Message, live: boolean, name: string}} props */
function Piece({ piece, message, live, name }) {
  switch (piece.kind) {
    case "text":
      return html`${isRefusal(piece.part) && html`<p class="message-note small muted"><${Icon} name="warn" size=${16} /> <span>${t("message.refused")}</span></p>`}
        <div class="message-text"><${Markdown} text=${piece.part.text} live=${live && piece.part.state === "streaming"} /></div>`;
    case "reasoning":
      return html`<${Reasoning} part=${piece.part} live=${live} name=${`${name}:${piece.name}`} />`;
    case "tools":
      return html`<${Tools} items=${piece.items} name=${piece.name} message=${name} live=${live} statuses=${live ? toolStatus.value : {}} approvals=${piece.approvals} files=${piece.files} onStop=${stopTool} />`;
    case "file":
      return html`<${AttachmentList} parts=${[piece.part]} />`;
    default:
      return null;
  }
}

/** Shows what is going on. @param {{empty: boolean}} props */
function Progress({ empty }) {
  if (phase.value === "reconnecting") return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.reconnecting")}</p>`;
  if (phase.value === "stopping") return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.stopping")}</p>`;
  if (phase.value === "asking") return null;
  if (!empty) return html`<span class="alive" aria-hidden="true"></span>`;
  return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.waiting")}</p>`;
}

/** Notice on how an answer ended, and what to do. @param {{message: Message, isEmpty: boolean}} props */
function Outcome({ message, isEmpty }) {
  const { metadata = {} } = message;
  const outcome = outcomeOf(metadata, isEmpty);
  const again = () => void regenerate(message.id);
  return html`
    ${outcome && html`<p class=${`message-note small ${outcome.key === "message.failed" ? "message-fault" : "muted"}`}>
      <${Icon} name=${metadata.status === "cancelled" ? "stop" : "warn"} size=${16} /> <span>${outcomeWords(outcome)}</span>
      ${outcome.next === "retry" && html`<button type="button" class="button small" onClick=${again}>${t("common.retry")}</button>`}
      ${outcome.next === "continue" && html`<button type="button" class="button small continue" onClick=${() => send({ text: t("message.continue_text") })}>${t("message.continue")}</button>`}
    </p>`}
    <div class="message-bar">
      <${Copy} text=${textOf(message)} />
      <${Act} icon="retry" label=${t("message.regenerate")} onClick=${again} />
      ${metadata.threadId && textOf(message) && html`<${Feedback} id=${message.id} thread=${metadata.threadId} given=${metadata.feedback} />`}
      ${metadata.runId && html`<${Link} href=${`/r/${metadata.runId}`} class="icon-button act" aria-label=${t("run.open")} title=${t("run.open")}><${Icon} name="timeline" size=${16} /><//>`}
      <${MessageUsage} metadata=${metadata} />
    </div>`;
}

/** @param {{text: string}} props */
function Copy({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  if (!text) return null;
  return html`<${Act} icon=${copied ? "check" : "copy"} label=${t(copied ? "message.copied" : "message.copy")} onClick=${copy} />`;
}

/** @param {{icon: string, label: string, onClick: () => void}} props */
function Act({ icon, label, onClick }) {
  return html`<button type="button" class="icon-button act" aria-label=${label} title=${label} onClick=${onClick}><${Icon} name=${icon} size=${16} /></button>`;
}
