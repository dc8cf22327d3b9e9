/** The user's assistants, and the card of a shared one. */
import { get, post } from "../api.mjs";
import { assistants, chatWith, copyAssistant, deleteAssistant, loadAssistants } from "../assistants.mjs";
import { navigate } from "../router.mjs";
import { tCount, t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { AssistantEditor, Share } from "./assistant_editor.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { NotFound } from "./failures.mjs";
import { Menu } from "./menu.mjs";
import { Publish, PublishedByOthers } from "./published.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";
import { toast, runAndReport } from "./toasts.mjs";

/** @typedef {import("../assistants.mjs").Assistant} Assistant */

/** The list, or one of them to edit: `/assistants`, `/assistants/new`, `/assistants/{id}`. */
export function Assistants(/** @type {{path: string}} */ { path }) {
  const id = decodeURIComponent(path.split("/")[2] ?? "");
  const loaded = useLoad(async () => (await loadAssistants()) ?? true);
  if (!id) return html`<${List} loaded=${loaded} />`;
  const assistant = assistants.value?.find((one) => one.id === id) ?? null;
  if (id !== "new" && assistants.value && !assistant) return html`<${NotFound} text=${t("assistants.unknown")} />`;
  return html`
    <div class="topbar">
      <${MenuButton} />
      <${Link} href="/assistants" class="icon-button" aria-label=${t("assistants.all")} title=${t("assistants.all")}><${Icon} name="back" /><//>
      <h1>${id === "new" ? t("assistants.new") : assistant?.name || t("assistants.unnamed")}</h1>
      <${NewThreadButton} />
    </div>
    <div class="page"><${Loaded} of=${id === "new" ? { data: true } : loaded}>${() => html`<${AssistantEditor} key=${id} assistant=${assistant} />`}<//></div>
  `;
}

function List(/** @type {{loaded: any}} */ { loaded }) {
  const list = assistants.value ?? [];
  return html`
    <div class="topbar">
      <${MenuButton} />
      <h1>${t("assistants.title")}</h1>
      ${list.length > 0 && html`<${Link} href="/assistants/new" class="button primary"><${Icon} name="new" size=${18} /><span>${t("assistants.new")}</span><//>`}
      <${NewThreadButton} />
    </div>
    <div class="page">
      <${Loaded} of=${loaded}>
        ${() => (list.length > 0 ? html`<ul class="cards">${list.map((one) => html`<${Card} key=${one.id} assistant=${one} />`)}</ul>` : html`<${None} />`)}
      <//>
      <${PublishedByOthers} />
    </div>
  `;
}

function None() {
  return html`<div class="empty">
    <${Icon} name="assistant" size=${40} />
    <h2>${t("assistants.none")}</h2>
    <p class="narrow">${t("assistants.none_hint")}</p>
    <${Link} href="/assistants/new" class="button primary"><${Icon} name="new" size=${18} />${t("assistants.new")}<//>
  </div>`;
}

function Card(/** @type {{assistant: Assistant}} */ { assistant }) {
  const [leaving, setLeaving] = useState(false);
  const [sharing, setSharing] = useState(false);
  const name = assistant.name || t("assistants.unnamed");
  const copy = async () => {
    if (await runAndReport(() => copyAssistant(assistant, t("assistants.copy_of", { name })))) toast({ text: t("assistants.copied") });
  };
  const edit = () => navigate(`/assistants/${encodeURIComponent(assistant.id)}`);
  const choices = [
    { label: t("common.edit"), icon: "edit", run: edit },
    { label: t("assistants.share"), icon: "share", run: () => setSharing(true) },
    { label: t("common.copy"), icon: "copy", run: copy },
    { label: t("common.delete"), icon: "trash", danger: true, run: () => setLeaving(true) },
  ];
  return html`<li class="card assistant">
    <div class="row">
      <h2 class="grow" dir="auto">${name}</h2>
      <${Menu} label=${t("assistants.actions", { name })} choices=${choices} />
    </div>
    <p class="muted told" dir="auto">${assistant.instructions || t("assistants.no_instructions")}</p>
    <div class="row">
      ${assistant.model && html`<span class="badge">${assistant.model}</span>`}
      ${assistant.tools && html`<span class="badge">${tCount("assistants.tools", assistant.tools.length)}</span>`}
      ${assistant.published_at && html`<span class="badge good">${t("assistants.published")}</span>`}
      ${assistant.shared && html`<span class="badge good"><${Icon} name="link" size=${14} />${t("assistants.shared")}</span>`}
    </div>
    <div class="row"><button type="button" class="button" onClick=${() => chatWith(assistant.id)}>${t("assistants.chat")}</button></div>
    ${sharing &&
    html`<${Dialog} title=${`${t("assistants.share")}: ${name}`} onClose=${() => setSharing(false)}>
      <div class="stack"><${Share} assistant=${assistant} /><${Publish} assistant=${assistant} /></div>
    <//>`}
    ${leaving &&
    html`<${ConfirmDialog}
      title=${t("assistants.delete_title", { name })} text=${t("assistants.delete_text")} action=${t("common.delete")}
      onConfirm=${() => deleteAssistant(assistant.id)} onClose=${() => setLeaving(false)}
    />`}
  </li>`;
}

/** Page of a shared assistant's link, with a button to copy it. */
export function SharedAssistant(/** @type {{token: string}} */ { token }) {
  const address = `/api/shared/${encodeURIComponent(token)}`;
  const loaded = useLoad(() => get(address), [address]);
  const take = async () => {
    const copy = await runAndReport(() => post(address, {}));
    if (!copy) return;
    await runAndReport(loadAssistants);
    chatWith(copy.id);
  };
  if (/** @type {any} */ (loaded.problem)?.status === 404) return html`<${NotFound} text=${t("shared.gone")} />`;
  return html`
    <div class="topbar"><${MenuButton} /><span class="grow"></span><${NewThreadButton} /></div>
    <div class="page">
      <${Loaded} of=${loaded}>${(/** @type {any} */ card) => html`<${SharedCard} card=${card} onTake=${take} />`}<//>
    </div>
  `;
}

function SharedCard(/** @type {{card: any, onTake: () => void}} */ { card, onTake }) {
  useEffect(() => {
    document.title = card.name;
  }, [card.name]);
  return html`<article class="card shared-card stack">
    <${Icon} name="assistant" size=${40} />
    <div>
      <h1 dir="auto">${card.name || t("assistants.unnamed")}</h1>
      <p class="muted">${[card.by && t("shared.by", { name: card.by }), card.model].filter(Boolean).join(" · ")}</p>
    </div>
    ${card.starters.length > 0 &&
    html`<ul class="shared-starters">${card.starters.map((/** @type {string} */ question) => html`<li key=${question} dir="auto">${question}</li>`)}</ul>`}
    <p class="muted small">${t("shared.hint")}</p>
    <button type="button" class="button primary" onClick=${onTake}>${t("shared.take")}</button>
  </article>`;
}
