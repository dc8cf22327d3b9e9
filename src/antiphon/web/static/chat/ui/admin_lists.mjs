/** Lists of models, MCP servers and shared assistants. */
import { get } from "../api.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Table } from "./table.mjs";
import { whole } from "./usage.mjs";

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
    { name: t("servers.problem"), show: (/** @type {any} */ server) => server.problem ?? "" },
  ];
  return html`<${Listed} of="servers" columns=${columns} keyOf=${(/** @type {any} */ server) => `${server.side} ${server.name}`} />`;
}

export function SharedAssistants() {
  const columns = [
    { name: t("assistants.name"), show: (/** @type {any} */ assistant) => html`<strong dir="auto">${assistant.name || t("assistants.unnamed")}</strong>` },
    { name: t("shared.owner"), show: (/** @type {any} */ assistant) => assistant.by || t("people.everybody") },
    { name: t("assistants.model"), show: (/** @type {any} */ assistant) => assistant.model ?? "" },
    { name: t("assistants.published"), show: (/** @type {any} */ assistant) => (assistant.published ? t("assistants.published") : "") },
  ];
  return html`<${Listed} of="assistants" columns=${columns} keyOf=${(/** @type {any} */ assistant) => assistant.id ?? assistant.token} />`;
}

function Listed(/** @type {{of: "models" | "servers" | "assistants", columns: any[], keyOf: (row: any) => string}} */ { of, columns, keyOf }) {
  const loaded = useLoad(() => get(`/api/admin/${of}`));
  return html`
    <div>
      <h2>${t(`admin.${of}`)}</h2>
      <p class="muted">${t(`admin.${of}_hint`)}</p>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${Table} caption=${t(`admin.${of}`)} columns=${columns} rows=${data} keyOf=${keyOf} />` : html`<p class="empty">${t(`admin.${of}_none`)}</p>`)}<//>
  `;
}
