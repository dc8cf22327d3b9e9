/** API keys: create, show once, limit, revoke. */
import { get, patch, post, remove } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { possibleOwners } from "./owners.mjs";
import { ShownOnce } from "./shown_once.mjs";
import { Table } from "./table.mjs";
import { ago, moment } from "./times.mjs";
import { whole } from "./usage.mjs";

/** @typedef {Record<string, number | null>} Limits */
/** @typedef {{id: string, name: string, owner: string, scopes: string[], limits: Limits, created_at: number, expires_at: number | null}} Key */

const SCOPES = ["read", "write", "metrics", "admin"];
const LIMITS = ["requests_per_minute", "runs_at_once", "tokens_per_day"];
const DAY_SECONDS = 86_400;

/** The keys, and by id the names of those they can belong to. */
async function keysAndOwners() {
  const [keys, names] = await Promise.all([get("/api/admin/keys"), possibleOwners()]);
  return { keys: keys.data, names };
}

export function Keys() {
  const loaded = useLoad(keysAndOwners);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const made = async (/** @type {string} */ token) => {
    setDialog(html`<${ShownOnce} title=${t("keys.made_title")} text=${t("keys.made_once")} label=${t("keys.token")} secret=${token} onClose=${close} />`);
    await loaded.again();
  };
  const done = async () => {
    close();
    await loaded.again();
  };
  const limit = (/** @type {Key} */ key) => setDialog(html`<${Limited} of=${key} onDone=${done} onClose=${close} />`);
  const revoke = (/** @type {Key} */ key) => setDialog(html`<${Revoke} of=${key} onDone=${loaded.again} onClose=${close} />`);
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.keys")}</h2>
        <p class="muted">${t("keys.hint")}</p>
      </div>
      <button type="button" class="button primary" disabled=${!loaded.data} onClick=${() => setDialog(html`<${NewKey} names=${loaded.data.names} onMade=${made} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("keys.make")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ keys, names }) => (keys.length > 0 ? html`<${KeyTable} keys=${keys} names=${names} onLimit=${limit} onRevoke=${revoke} />` : html`<p class="empty">${t("keys.none")}</p>`)}<//>
    ${dialog}
  `;
}

function KeyTable(/** @type {{keys: Key[], names: Map<string, string>, onLimit: (key: Key) => void, onRevoke: (key: Key) => void}} */ { keys, names, onLimit, onRevoke }) {
  const columns = [
    { name: t("keys.name"), show: (/** @type {Key} */ key) => html`<strong dir="auto">${key.name}</strong>` },
    { name: t("keys.owner"), show: (/** @type {Key} */ key) => names.get(key.owner) ?? key.owner },
    { name: t("keys.scopes"), show: (/** @type {Key} */ key) => html`<span class="row">${key.scopes.map((scope) => html`<span class="badge" key=${scope}>${t(`keys.scope_${scope}`)}</span>`)}</span>` },
    { name: t("keys.limits"), show: (/** @type {Key} */ key) => limitWords(key.limits) && html`<span class="small">${limitWords(key.limits)}</span>` },
    { name: t("keys.made"), show: (/** @type {Key} */ key) => ago(key.created_at) },
    { name: t("keys.expires"), show: (/** @type {Key} */ key) => (key.expires_at ? moment(key.expires_at) : t("people.never")) },
    { name: "", show: (/** @type {Key} */ key) => html`<span class="row">
      <button type="button" class="button small" onClick=${() => onLimit(key)}>${t("keys.limit")}</button>
      <button type="button" class="button small danger" onClick=${() => onRevoke(key)}>${t("keys.revoke")}</button>
    </span>` },
  ];
  return html`<${Table} caption=${t("admin.keys")} columns=${columns} rows=${keys} keyOf=${(/** @type {Key} */ key) => key.id} />`;
}

function NewKey(/** @type {{names: Map<string, string>, onMade: (token: string) => Promise<void>, onClose: () => void}} */ { names, onMade, onClose }) {
  const make = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    const { name, owner, days } = values;
    const scopes = new FormData(form).getAll("scope").map(String);
    const expires_in = days ? Number(days) * DAY_SECONDS : null;
    const { token } = await post("/api/admin/keys", { name, owner, scopes, limits: limitsOf(values), expires_in });
    await onMade(token);
  };
  return html`<${Dialog} title=${t("keys.make")} onClose=${onClose}>
    <${Form} onSubmit=${make} action=${t("keys.make")} onCancel=${onClose}>
      <${Field} label=${t("keys.name")} hint=${t("keys.name_hint")}><input class="input" name="name" required maxlength="100" autocomplete="off" /><//>
      <${Field} label=${t("keys.owner")} hint=${t("keys.owner_hint")}><select class="input" name="owner">${[...names].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select><//>
      <fieldset>
        <legend class="label">${t("keys.scopes")}</legend>
        ${SCOPES.map((scope) => html`<${Check} key=${scope} name="scope" value=${scope} label=${t(`keys.scope_${scope}`)} defaultChecked=${scope === "read" || scope === "write"} />`)}
      </fieldset>
      <${LimitFields} />
      <${Field} label=${t("keys.days")} hint=${t("keys.days_hint")}><input class="input short" type="number" name="days" min="1" max="3650" /><//>
    <//>
  <//>`;
}

/** Fields for a key's limits; an empty field is no limit. */
function LimitFields(/** @type {{limits?: Limits}} */ { limits = {} }) {
  return html`<fieldset>
    <legend class="label">${t("keys.limits")}</legend>
    <div class="stack">
      <p class="hint">${t("keys.limits_hint")}</p>
      ${LIMITS.map((name) => html`<${Field} key=${name} label=${t(`keys.limit_${name}`)}><input class="input short" type="number" name=${name} min="1" max="9007199254740991" defaultValue=${limits[name] ?? ""} /><//>`)}
    </div>
  </fieldset>`;
}

function Limited(/** @type {{of: Key, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const save = async (/** @type {Record<string, string>} */ values) => {
    await patch(`/api/admin/keys/${encodeURIComponent(of.id)}`, { limits: limitsOf(values) });
    await onDone();
  };
  return html`<${Dialog} title=${t("keys.limit_title", { name: of.name })} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}><${LimitFields} limits=${of.limits} /><//>
  <//>`;
}

const limitsOf = (/** @type {Record<string, string>} */ values) =>
  Object.fromEntries(LIMITS.map((name) => [name, values[name] ? Number(values[name]) : null]));

/** Returns the limits in words, empty if there are none. */
const limitWords = (/** @type {Limits} */ limits) =>
  LIMITS.filter((name) => limits[name]).map((name) => t(`keys.bound_${name}`, { count: whole(/** @type {number} */ (limits[name])) })).join(" · ");

function Revoke(/** @type {{of: Key, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const revoke = async () => {
    await remove(`/api/admin/keys/${encodeURIComponent(of.id)}`);
    await onDone();
  };
  return html`<${ConfirmDialog}
    title=${t("keys.revoke_title", { name: of.name })} text=${t("keys.revoke_text")} action=${t("keys.revoke")}
    onConfirm=${revoke} onClose=${onClose}
  />`;
}
