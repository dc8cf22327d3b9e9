/** Owners' own keys at model providers: set here, never shown. */
import { get, put, remove } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { possibleOwners } from "./owners.mjs";
import { Table } from "./table.mjs";
import { ago } from "./times.mjs";
import { toast } from "./toasts.mjs";

/** @typedef {{owner: string, person: string, provider: string, hint: string, base_url: string | null, created_at: number}} OwnKey */

const address = (/** @type {string} */ provider, /** @type {string} */ owner) =>
  `/api/admin/provider_keys/${encodeURIComponent(provider)}/${encodeURIComponent(owner)}`;

async function keysAndOwners() {
  const [keys, names] = await Promise.all([get("/api/admin/provider_keys"), possibleOwners()]);
  return { keys: keys.data, names };
}

export function ProviderKeys() {
  const loaded = useLoad(keysAndOwners);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const done = async () => {
    close();
    await loaded.again();
  };
  const set = (/** @type {OwnKey | undefined} */ key) => setDialog(html`<${NewKey} names=${loaded.data.names} of=${key} onDone=${done} onClose=${close} />`);
  const drop = (/** @type {OwnKey} */ key) => setDialog(html`<${Removal} of=${key} onDone=${done} onClose=${close} />`);
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.provider_keys")}</h2>
        <p class="muted">${t("provider_keys.hint")}</p>
      </div>
      <button type="button" class="button primary" disabled=${!loaded.data} onClick=${() => set(undefined)}><${Icon} name="new" size=${18} />${t("provider_keys.set")}</button>
    </div>
    <${Loaded} of=${loaded}>${({ keys, names }) => (keys.length > 0 ? html`<${KeyTable} keys=${keys} names=${names} onReplace=${set} onRemove=${drop} />` : html`<p class="empty">${t("provider_keys.none")}</p>`)}<//>
    ${dialog}
  `;
}

function KeyTable(/** @type {{keys: OwnKey[], names: Map<string, string>, onReplace: (key: OwnKey) => void, onRemove: (key: OwnKey) => void}} */ { keys, names, onReplace, onRemove }) {
  const columns = [
    { name: t("provider_keys.owner"), show: (/** @type {OwnKey} */ key) => html`<strong dir="auto">${names.get(key.owner) ?? key.person}</strong>` },
    { name: t("provider_keys.provider"), show: (/** @type {OwnKey} */ key) => key.provider },
    { name: t("provider_keys.ends"), show: (/** @type {OwnKey} */ key) => key.hint && html`<span class="mono">${key.hint}</span>` },
    { name: t("provider_keys.base_url"), show: (/** @type {OwnKey} */ key) => html`<span class="mono small breaks">${key.base_url ?? ""}</span>` },
    { name: t("provider_keys.since"), show: (/** @type {OwnKey} */ key) => ago(key.created_at) },
    { name: "", show: (/** @type {OwnKey} */ key) => html`<span class="row">
      <button type="button" class="button small" onClick=${() => onReplace(key)}>${t("provider_keys.replace")}</button>
      <button type="button" class="button small danger" onClick=${() => onRemove(key)}>${t("provider_keys.remove")}</button>
    </span>` },
  ];
  return html`<${Table} caption=${t("admin.provider_keys")} columns=${columns} rows=${keys} keyOf=${(/** @type {OwnKey} */ key) => `${key.owner} ${key.provider}`} />`;
}

/** A key, written into a field that shows nothing; with `of` in place of that one. */
function NewKey(/** @type {{names: Map<string, string>, of?: OwnKey, onDone: () => Promise<void>, onClose: () => void}} */ { names, of, onDone, onClose }) {
  const keep = async (/** @type {Record<string, string>} */ values) => {
    const [owner, provider] = of ? [of.owner, of.provider] : [values.owner, values.provider];
    const kept = await put(address(provider.trim(), owner), { key: values.key, base_url: values.base_url.trim() || null });
    toast({ text: t(kept.hint ? "provider_keys.kept_ending" : "provider_keys.kept", { provider: kept.provider, hint: kept.hint }) });
    await onDone();
  };
  const title = of ? t("provider_keys.replace_title", { provider: of.provider }) : t("provider_keys.set");
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Form} onSubmit=${keep} action=${t("provider_keys.keep")} onCancel=${onClose}>
      ${!of && html`
        <${Field} label=${t("provider_keys.owner")} hint=${t("provider_keys.owner_hint")}><select class="input" name="owner">${[...names].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select><//>
        <${Field} label=${t("provider_keys.provider")} hint=${t("provider_keys.provider_hint")}><input class="input" name="provider" required maxlength="64" autocomplete="off" spellcheck="false" autocapitalize="off" /><//>
      `}
      <${Field} label=${t("provider_keys.key")} hint=${t("provider_keys.key_hint")}><input class="input mono" type="password" name="key" required autocomplete="new-password" spellcheck="false" /><//>
      <${Field} label=${t("provider_keys.base_url")} hint=${t("provider_keys.base_url_hint")}><input class="input" type="url" name="base_url" autocomplete="off" defaultValue=${of?.base_url ?? ""} /><//>
    <//>
  <//>`;
}

function Removal(/** @type {{of: OwnKey, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const leave = async () => {
    await remove(address(of.provider, of.owner));
    await onDone();
  };
  return html`<${ConfirmDialog}
    title=${t("provider_keys.remove_title", { provider: of.provider })} text=${t("provider_keys.remove_text")} action=${t("provider_keys.remove")}
    onConfirm=${leave} onClose=${onClose}
  />`;
}
