/** One message of the user or the assistant. */
import { continueAnswer, queueEdit, queueRemove, retryPending, stopTool } from "../conversation_actions.mjs";
import { modelIn } from "../comparison.mjs";
import { arrangeParts } from "../message_parts.mjs";
import { messageKey, questionBefore } from "../history.mjs";
import { hintOf, outcomeOf } from "../outcome.mjs";
import { outcomeWords } from "../problems.mjs";
import { isRefusal, currentParts, textOf } from "../reduce.mjs";
import { starting } from "../servers.mjs";
import { editing, refusedVersion } from "../store.mjs";
import { t } from "../t.mjs";
import { regenerate } from "../versions.mjs";
import { html, useContext, useMemo, useState } from "../vendor/ui.mjs";
import { webSourcesOf } from "../web_sources.mjs";
import { Approvals } from "./approvals.mjs";
import { openArtifact } from "./artifact.mjs";
import { isDocumentCall } from "../documents.mjs";
import { laterView } from "./later_view.mjs";
import { AttachmentList } from "./attachment_list.mjs";
import { BranchSwitch } from "./branches.mjs";
import { Feedback } from "./feedback.mjs";
import { Here } from "./here.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Markdown } from "./markdown.mjs";
import { Notice } from "./notice.mjs";
import { Plain } from "./plain.mjs";
import { ReadAloud } from "./read_aloud.mjs";
import { Reasoning } from "./reasoning.mjs";
import { moment, time } from "./times.mjs";
import { Tools } from "./tool.mjs";
import { MessageUsage } from "./usage.mjs";
import { WebSources } from "./web_sources.mjs";
import { Word } from "./word.mjs";

/** Characters and lines of a user's message that are shown at first. */
const WRITTEN_CHARACTERS = 4000;
const WRITTEN_LINES = 40;
const COPIED_MS = 1500;

const Rewrite = laterView(() => import("./rewrite.mjs").then((module) => module.Rewrite));
const RefusedVersion = laterView(() => import("./refused_version.mjs").then((module) => module.RefusedVersion), { silent: true });
const Sources = laterView(() => import("./sources.mjs").then((module) => module.Sources), { silent: true, idle: false });

export { Approvals };

/** @typedef {import("../history.mjs").Message} Message */

/**
 * @param {{message: Message, entry?: import("../outbox.mjs").Entry, isSent?: boolean}} props  `isSent` is false for an unsent
 *   message whose state is shown elsewhere
 */
export function Person({ message, entry, isSent = !entry }) {
  const text = textOf(message);
  const files = message.parts.filter((part) => part.type === "file");
  const isEdited = isSent && editing.value === messageKey(message);
  return html`<article class="message user" data-message=${message.id} data-status=${entry?.state ?? "sent"} aria-label=${t("message.person")}>
    ${isEdited
      ? html`<${Rewrite} message=${message} text=${text} />`
      : html`${files.length > 0 && html`<${AttachmentList} parts=${files} />`}
          ${text && html`<div class="bubble message-text"><${Plain} text=${text} name=${message.key ?? message.id} limit=${WRITTEN_CHARACTERS} lines=${WRITTEN_LINES} label=${t("message.person")} /></div>`}`}
    ${entry && html`<${Waiting} entry=${entry} />`}
    ${isSent && !isEdited && html`<${PersonBar} message=${message} text=${text} />`}
  </article>`;
}

/** Actions on a message that was not accepted yet. @param {{entry: import("../outbox.mjs").Entry}} props */
export function Waiting({ entry: { id, state, fault, options, beside } }) {
  if (state === "sending" && fault) return html`<${Notice} className="message-note" role="alert" text=${fault} hint=${t("message.sent_by_itself")} />`;
  if (state === "sending") {
    const servers = starting.value.join(", ");
    return html`<p class="message-note muted small" role="status">${servers ? t("message.servers_starting", { servers }) : t("message.sending")}</p>`;
  }
  const others = html`<button type="button" class="button small quiet" onClick=${() => queueEdit(id)}>${t("message.edit")}</button>
    <button type="button" class="button small quiet" onClick=${() => queueRemove(id)}>${t("message.remove")}</button>`;
  if (state !== "failed") return html`<div class="message-note row small"><span class="muted">${t("message.queued")}</span>${others}</div>`;
  const again = html`<button type="button" class="button small" onClick=${() => retryPending(id)}>${t("common.retry")}</button>${others}`;
  if (!beside?.refusal) return html`<${Notice} bad className="message-note" role="alert" text=${fault} hint=${t("hint.not_sent")}>${again}<//>`;
  const ofModel = (/** @type {Record<string, any>} */ asked, /** @type {string | null} */ text) => t("announce.of_model", { model: modelIn(asked), text: text ?? "" });
  return html`<${Notice} bad className="message-note" role="alert" text=${ofModel(beside.options, beside.refusal)} />
    <${Notice} bad className="message-note" role="alert" text=${ofModel(options, fault)} hint=${t("hint.not_sent")}>${again}<//>`;
}

/** @param {{message: Message, text: string}} props */
function PersonBar({ message, text }) {
  return html`<div class="message-bar">
    <${About} metadata=${message.metadata} />
    <${BranchSwitch} number=${message.metadata?.number} question />
    <${Copy} text=${text} />
    <${Act} icon="edit" label=${t("message.edit")} onClick=${() => (editing.value = messageKey(message))} />
  </div>`;
}

/** @param {{message: Message, live: boolean}} props */
export function Assistant({ message, live }) {
  const parts = useMemo(() => currentParts(message.parts, { live }), [message.parts, live]);
  const shown = useMemo(() => arrangeParts(parts), [parts]);
  const sources = useMemo(() => (live ? [] : webSourcesOf(parts)), [parts, live]);
  const name = message.id;
  return html`<article class="message assistant" data-message=${message.id} data-status=${live ? "live" : (message.metadata?.status ?? "completed")} aria-label=${t("message.assistant")}>
    ${shown.map((piece) => html`<${Piece} key=${piece.name} piece=${piece} message=${message} live=${live} name=${name} sources=${sources} />`)}
    <${WebSources} sources=${sources} />
    ${parts.filter((part) => part.type === "data-compaction").length > 0 && html`<p class="message-note muted small">${t("message.compacted")}</p>`}
    ${!live && parts.some(isDocumentCall) && html`<${Sources} parts=${parts} />`}
    ${live ? html`<${Progress} empty=${shown.length === 0} />` : html`<${Outcome} message=${message} isEmpty=${shown.length === 0} />`}
  </article>`;
}

/** @param {{piece: any, message: Message, live: boolean, name: string, sources: readonly import("../web_sources.mjs").Source[]}} props */
function Piece({ piece, message, live, name, sources }) {
  const { at } = useContext(Here);
  const show = (/** @type {any} */ artifact) => openArtifact({ artifact, message: message.id, thread: at.current.value?.thread.id ?? "" });
  switch (piece.kind) {
    case "text":
      return html`${isRefusal(piece.part) && html`<p class="message-note small muted"><${Icon} name="warn" size=${16} /> <span>${t("message.refused")}</span></p>`}
        <div class="message-text"><${Markdown} text=${piece.part.text} live=${live && piece.part.state === "streaming"} sources=${sources} onArtifact=${show} /></div>`;
    case "reasoning":
      return html`<${Reasoning} part=${piece.part} live=${live} name=${`${name}:${piece.name}`} />`;
    case "tools":
      return html`<${Tools} items=${piece.items} name=${piece.name} message=${name} live=${live} statuses=${live ? at.toolStatus.value : {}} approvals=${piece.approvals} files=${piece.files} onStop=${(/** @type {string} */ call) => stopTool(call, at)} />`;
    case "file":
      return html`<${AttachmentList} parts=${[piece.part]} />`;
    default:
      return null;
  }
}

/** Shows what is going on. @param {{empty: boolean}} props */
function Progress({ empty }) {
  const { phase } = useContext(Here).at;
  if (phase.value === "reconnecting") return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.reconnecting")}</p>`;
  if (phase.value === "stopping") return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.stopping")}</p>`;
  if (phase.value === "asking") return null;
  if (!empty) return html`<span class="alive" aria-hidden="true"></span>`;
  return html`<p class="message-note muted small"><span class="spinner" aria-hidden="true"></span> ${t("chat.waiting")}</p>`;
}

/** Notice on how an answer ended, and what to do. @param {{message: Message, isEmpty: boolean}} props */
function Outcome({ message, isEmpty }) {
  const { at } = useContext(Here);
  const messages = at.current.value?.messages ?? [];
  const { metadata = {} } = message;
  const outcome = outcomeOf(metadata, isEmpty);
  const hint = outcome && hintOf(outcome);
  const again = () => void regenerate(message.id, at);
  const question = questionBefore(messages, message.id);
  return html`
    ${outcome &&
    html`<${Notice}
      className="message-note" bad=${outcome.key === "message.failed"} icon=${metadata.status === "cancelled" ? "stop" : "warn"}
      text=${outcomeWords(outcome)} hint=${hint && t(hint)}
    >
      ${outcome.next === "retry" && html`<button type="button" class="button small" onClick=${again}>${t("common.retry")}</button>`}
      ${outcome.next === "continue" && messages.at(-1)?.id === message.id && html`<button type="button" class="button small continue" onClick=${() => void continueAnswer(at)}>${t("message.continue")}</button>`}
    <//>`}
    ${refusedVersion.value && html`<${RefusedVersion} question=${question} />`}
    <div class="message-bar">
      <${BranchSwitch} number=${question?.metadata.number} />
      <${Copy} text=${textOf(message)} />
      <${Act} icon="retry" label=${t("message.regenerate")} onClick=${again} />
      <${ReadAloud} id=${message.id} text=${textOf(message)} />
      ${metadata.threadId && textOf(message) && html`<${Feedback} id=${message.id} thread=${metadata.threadId} given=${metadata.feedback} />`}
      ${metadata.runId && html`<${Link} href=${`/r/${metadata.runId}`} class="icon-button act" aria-label=${t("run.open")} title=${t("run.open")}><${Icon} name="timeline" size=${16} /><//>`}
      <${MessageUsage} metadata=${metadata} />
      <${About} metadata=${metadata} />
    </div>`;
}

/** When a message was written, and the model that answered. @param {{metadata?: Record<string, any>}} props */
function About({ metadata: { createdAt, model } = {} }) {
  if (!createdAt) return null;
  return html`<span class="message-about muted small">
    <time datetime=${new Date(createdAt).toISOString()} title=${moment(createdAt)}>${time(createdAt)}</time>${model && html` · <${Word} text=${model} most=${60} />`}
  </span>`;
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
