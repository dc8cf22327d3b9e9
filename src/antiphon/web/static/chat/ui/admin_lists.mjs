/** Lists of models, MCP servers and shared assistants; published ones can be taken back. */
import { get, remove } from "../api.mjs";
import { revealText } from "../hidden_characters.mjs";
import { reasonInWords } from "../server_reasons.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Table } from "./table.mjs";
import { whole } from "./usage.mjs";

const ServerCatalog = laterView(() => import("./server_catalog.mjs").then((module) => module.ServerCatalog), { over: true, idle: false });

export function ModelList() {
  const columns = [
    { name: t("models.name"), show: (/** @type {any} */ model) => html`<strong>${model.id}</strong> ${model.default && html`<span class="badge good">${t("models.usual")}</span>`}` },
    { name: t("models.provider"), show: (/** @type {any} */ model) => model.provider },
    { name: t("models.window"), number: true, show: (/** @type {any} */ model) => (model.context_tokens ? whole(model.context_tokens) : t("models.unknown")) },
  ];
  return html`<${Listed} of="models" columns=${columns} keyOf=${(/** @type {any} */ model) => model.id} />`;
}

export function ServerList() {
  const columns = [
    { name: t("servers.name"), show: (/** @type {any} */ server) => html`<strong dir="auto">${server.name}</strong>` },
    { name: t("servers.side"), show: (/** @type {any} */ server) => t(`servers.side_${server.side}`) },
    { name: t("servers.status"), show: (/** @type {any} */ server) => html`<span class=${server.problem ? "badge bad" : "badge"}>${t(`servers.state_${server.status}`)}</span>` },
    { name: t("servers.problem"), show: (/** @type {any} */ server) => reasonInWords(server.problem ?? "") },
  ];
  const loaded = useLoad(() => get("/api/admin/servers"));
  const [open, setOpen] = useState(false);
  const close = () => {
    setOpen(false);
    void loaded.again();
  };
  return html`
    <${ListOf} of="servers" loaded=${loaded} columns=${columns} keyOf=${(/** @type {any} */ server) => `${server.side} ${server.name}`} />
    ${me.value?.manages_servers && html`<p><button type="button" class="button" aria-haspopup="dialog" onClick=${() => setOpen(true)}><${Icon} name="server" size=${18} />${t("servers.change")}</button></p>`}
    ${open && html`<${ServerCatalog} onClose=${close} />`}`;
}

export function SharedAssistants() {
  const loaded = useLoad(() => get("/api/admin/assistants"));
  const [asked, setAsked] = useState(/** @type {any} */ (null)); // the assistant that may be taken back
  const takeBack = async () => {
    await remove(`/api/admin/published_assistants/${encodeURIComponent(asked.id)}`);
    await loaded.again();
  };
  const columns = [
    { name: t("assistants.name"), show: (/** @type {any} */ assistant) => html`<strong dir="auto">${nameOf(assistant)}</strong>` },
    { name: t("shared.owner"), show: (/** @type {any} */ assistant) => assistant.by || t("people.everybody") },
    { name: t("assistants.model"), show: (/** @type {any} */ assistant) => assistant.model ?? "" },
    { name: t("assistants.published"), show: (/** @type {any} */ assistant) => (assistant.published ? t("assistants.published") : "") },
    { name: "", show: (/** @type {any} */ assistant) => assistant.published && html`<button type="button" class="button small danger" onClick=${() => setAsked(assistant)}>${t("assistants.unpublish")}</button>` },
  ];
  return html`
    <${ListOf} of="assistants" loaded=${loaded} columns=${columns} keyOf=${(/** @type {any} */ assistant) => assistant.id ?? assistant.token} />
    ${asked && html`<${ConfirmDialog}
      title=${t("shared.take_back_title", { name: nameOf(asked) })} text=${t("shared.take_back_text")}
      action=${t("assistants.unpublish")} onConfirm=${takeBack} onClose=${() => setAsked(null)}
    />`}
  `;
}

/** Returns the name of an assistant of another person, with its hidden characters shown. */
function nameOf(/** @type {{name: string}} */ assistant) {
  return revealText(assistant.name) || t("assistants.unnamed");
}

function Listed(/** @type {{of: "models", columns: any[], keyOf: (row: any) => string}} */ { of, columns, keyOf }) {
  const loaded = useLoad(() => get(`/api/admin/${of}`));
  return html`<${ListOf} of=${of} loaded=${loaded} columns=${columns} keyOf=${keyOf} />`;
}

function ListOf(/** @type {{of: "models" | "servers" | "assistants", loaded: any, columns: any[], keyOf: (row: any) => string}} */ { of, loaded, columns, keyOf }) {
  return html`
    <div>
      <h2>${t(`admin.${of}`)}</h2>
      <p class="muted">${t(`admin.${of}_hint`)}</p>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${Table} caption=${t(`admin.${of}`)} columns=${columns} rows=${data} keyOf=${keyOf} />` : html`<p class="empty">${t(`admin.${of}_none`)}</p>`)}<//>
  `;
}
