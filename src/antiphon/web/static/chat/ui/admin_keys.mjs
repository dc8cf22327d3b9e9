/** Keys for programs: made, shown once, revoked. */
import { get, post, remove } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Confirm } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoaded } from "./loaded.mjs";
import { Table } from "./table.mjs";
import { ago } from "./times.mjs";
import { toast, told } from "./toasts.mjs";

/** @typedef {{id: string, name: string, owner: string, scopes: string[], created_at: number}} Key */

const SCOPES = ["read", "write", "admin"];

/** The keys, and by id the names of those they can belong to; "local" is who needs no login. */
async function keysAndPeople() {
  const [keys, people] = await Promise.all([get("/api/admin/keys"), get("/api/admin/people")]);
  const named = people.data.map((/** @type {{id: string, name: string}} */ { id, name }) => [id, name]);
  return { keys: keys.data, names: new Map([["local", t("people.everybody")], ...named]) };
}

export function Keys() {
  const loaded = useLoaded(keysAndPeople);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const made = async (/** @type {string} */ token) => {
    setDialog(html`<${MadeKey} token=${token} onClose=${close} />`);
    await loaded.again();
  };
  const revoke = (/** @type {Key} */ key) => setDialog(html`<${Revoke} of=${key} onDone=${loaded.again} onClose=${close} />`);
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.keys")}</h2>
        <p class="muted">${t("keys.hint")}</p>
      </div>
      <button type="button" class="button primary" onClick=${() => setDialog(html`<${NewKey} names=${loaded.data?.names ?? new Map()} onMade=${made} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("keys.make")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ keys, names }) => (keys.length > 0 ? html`<${KeyTable} keys=${keys} names=${names} onRevoke=${revoke} />` : html`<p class="empty">${t("keys.none")}</p>`)}<//>
    ${dialog}
  `;
}

function KeyTable(/** @type {{keys: Key[], names: Map<string, string>, onRevoke: (key: Key) => void}} */ { keys, names, onRevoke }) {
  const columns = [
    { name: t("keys.name"), show: (/** @type {Key} */ key) => html`<strong dir="auto">${key.name}</strong>` },
    { name: t("keys.owner"), show: (/** @type {Key} */ key) => names.get(key.owner) ?? key.owner },
    { name: t("keys.scopes"), show: (/** @type {Key} */ key) => html`<span class="row">${key.scopes.map((scope) => html`<span class="badge" key=${scope}>${scope}</span>`)}</span>` },
    { name: t("keys.made"), show: (/** @type {Key} */ key) => ago(key.created_at) },
    { name: "", show: (/** @type {Key} */ key) => html`<button type="button" class="button small danger" onClick=${() => onRevoke(key)}>${t("keys.revoke")}</button>` },
  ];
  return html`<${Table} caption=${t("admin.keys")} columns=${columns} rows=${keys} keyOf=${(/** @type {Key} */ key) => key.id} />`;
}

function NewKey(/** @type {{names: Map<string, string>, onMade: (token: string) => Promise<void>, onClose: () => void}} */ { names, onMade, onClose }) {
  const make = async (/** @type {Record<string, string>} */ { name, owner }, /** @type {HTMLFormElement} */ form) => {
    const scopes = new FormData(form).getAll("scope").map(String);
    const { token } = await post("/api/admin/keys", { name, owner, scopes });
    await onMade(token);
  };
  return html`<${Dialog} title=${t("keys.make")} onClose=${onClose}>
    <${Form} onSubmit=${make} action=${t("keys.make")} onCancel=${onClose}>
      <${Field} label=${t("keys.name")} hint=${t("keys.name_hint")}><input class="input" name="name" required maxlength="100" autocomplete="off" /><//>
      <${Field} label=${t("keys.owner")} hint=${t("keys.owner_hint")}><select class="input" name="owner">${[...names].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select><//>
      <fieldset>
        <legend class="label">${t("keys.scopes")}</legend>
        ${SCOPES.map((scope) => html`<${Check} key=${scope} name="scope" value=${scope} label=${t(`keys.scope_${scope}`)} defaultChecked=${scope !== "admin"} />`)}
      </fieldset>
    <//>
  <//>`;
}

function MadeKey(/** @type {{token: string, onClose: () => void}} */ { token, onClose }) {
  const copy = async () => {
    if (await told(() => navigator.clipboard.writeText(token))) toast({ text: t("common.copied") });
  };
  return html`<${Dialog} title=${t("keys.made_title")} onClose=${onClose}>
    <div class="stack">
      <p>${t("keys.made_once")}</p>
      <input class="input mono" readonly value=${token} aria-label=${t("keys.token")} onFocus=${(/** @type {any} */ event) => event.currentTarget.select()} />
      <div class="row">
        <button type="button" class="button primary" onClick=${copy}><${Icon} name="copy" size=${18} />${t("common.copy")}</button>
        <button type="button" class="button quiet" onClick=${onClose}>${t("keys.kept")}</button>
      </div>
    </div>
  <//>`;
}

function Revoke(/** @type {{of: Key, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const revoke = async () => {
    await remove(`/api/admin/keys/${encodeURIComponent(of.id)}`);
    await onDone();
  };
  return html`<${Confirm}
    title=${t("keys.revoke_title", { name: of.name })} text=${t("keys.revoke_text")} action=${t("keys.revoke")}
    onConfirm=${revoke} onClose=${onClose}
  />`;
}
