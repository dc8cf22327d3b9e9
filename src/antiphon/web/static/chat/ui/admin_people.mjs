/** People of the installation: add, change role, disable, remove. */
import { get, patch, post, remove } from "../api.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Menu } from "./menu.mjs";
import { Table } from "./table.mjs";
import { ago } from "./times.mjs";
import { toast, runAndReport } from "./toasts.mjs";

const ROLES = ["user", "admin"];

/**
 * @typedef {{id: string, name: string, role: string, disabled: boolean, subject: string | null, signed_in_at: number | null}} Person
 */

export function People() {
  const loaded = useLoad(() => get("/api/admin/people"));
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const done = async () => {
    close();
    await loaded.again();
  };
  return html`
    <div class="row apart">
      <h2>${t("admin.people")}</h2>
      <button type="button" class="button primary" onClick=${() => setDialog(html`<${NewPerson} onDone=${done} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("people.add")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${PeopleTable} people=${data} setDialog=${setDialog} onDone=${done} onClose=${close} />` : html`<p class="empty">${t("people.none")}</p>`)}<//>
    ${dialog}
  `;
}

function PeopleTable(/** @type {any} */ { people, setDialog, onDone, onClose }) {
  const columns = [
    { name: t("people.name"), show: (/** @type {Person} */ person) => html`<strong dir="auto">${person.name}</strong> ${person.id === me.value?.person?.id && html`<span class="badge good">${t("people.you")}</span>`}` },
    { name: t("people.role"), show: (/** @type {Person} */ person) => t(`people.role_${person.role}`) },
    { name: t("people.state"), show: (/** @type {Person} */ person) => (person.disabled ? html`<span class="badge bad">${t("people.disabled")}</span>` : html`<span class="badge">${t("people.active")}</span>`) },
    { name: t("people.seen"), show: (/** @type {Person} */ person) => (person.signed_in_at ? ago(person.signed_in_at) : t("people.never")) },
    { name: "", show: (/** @type {Person} */ person) => html`<${Menu} label=${t("people.actions", { name: person.name })} choices=${choicesFor(person, setDialog, onDone, onClose)} />` },
  ];
  return html`<${Table} caption=${t("admin.people")} columns=${columns} rows=${people} keyOf=${(/** @type {Person} */ person) => person.id} />`;
}

function choicesFor(/** @type {Person} */ person, /** @type {any} */ setDialog, /** @type {any} */ onDone, /** @type {any} */ onClose) {
  const address = `/api/admin/people/${encodeURIComponent(person.id)}`;
  const change = (/** @type {object} */ fields, /** @type {string} */ news) => async () => {
    if (await runAndReport(() => patch(address, fields))) toast({ text: news });
    await onDone();
  };
  const other = person.role === "admin" ? "user" : "admin";
  const choices = [
    { label: t(`people.make_${other}`), icon: "admin", run: change({ role: other }, t("people.role_changed", { name: person.name })) },
    person.disabled
      ? { label: t("people.enable"), icon: "check", run: change({ disabled: false }, t("people.enabled_now", { name: person.name })) }
      : { label: t("people.disable"), icon: "stop", run: change({ disabled: true }, t("people.disabled_now", { name: person.name })) },
    { label: t("people.sign_out"), icon: "signout", run: change({ sign_out: true }, t("people.signed_out_now", { name: person.name })) },
    { label: t("people.remove"), icon: "trash", danger: true, run: () => setDialog(html`<${Removal} person=${person} address=${address} onDone=${onDone} onClose=${onClose} />`) },
  ];
  const reset = { label: t("people.reset"), icon: "key", run: () => setDialog(html`<${Reset} person=${person} address=${address} onDone=${onDone} onClose=${onClose} />`) };
  return person.subject ? choices : [reset, ...choices];
}

function NewPerson(/** @type {any} */ { onDone, onClose }) {
  const add = async (/** @type {Record<string, string>} */ { name, role, password }) => {
    await post("/api/admin/people", { name, role, password });
    toast({ text: t("people.added", { name }) });
    await onDone();
  };
  return html`<${Dialog} title=${t("people.add")} onClose=${onClose}>
    <${Form} onSubmit=${add} action=${t("people.add")} onCancel=${onClose}>
      <${Field} label=${t("people.name")}><input class="input" name="name" required maxlength="100" autocomplete="off" spellcheck="false" /><//>
      <${Field} label=${t("people.role")}>
        <select class="input" name="role">${ROLES.map((role) => html`<option key=${role} value=${role}>${t(`people.role_${role}`)}</option>`)}</select>
      <//>
      <${NewPassword} />
    <//>
  <//>`;
}

function Reset(/** @type {any} */ { person, address, onDone, onClose }) {
  const reset = async (/** @type {Record<string, string>} */ { password }) => {
    await patch(address, { password });
    toast({ text: t("people.reset_done", { name: person.name }) });
    await onDone();
  };
  return html`<${Dialog} title=${t("people.reset_title", { name: person.name })} onClose=${onClose}>
    <${Form} onSubmit=${reset} action=${t("people.reset_save")} onCancel=${onClose}><${NewPassword} /><//>
  <//>`;
}

function NewPassword() {
  return html`<${Field} label=${t("settings.password_new")} hint=${t("settings.password_hint")}>
    <input class="input" type="password" name="password" required minlength="8" autocomplete="new-password" />
  <//>`;
}

function Removal(/** @type {any} */ { person, address, onDone, onClose }) {
  const leave = async () => {
    await remove(address);
    toast({ text: t("people.removed", { name: person.name }) });
    await onDone();
  };
  return html`<${ConfirmDialog}
    title=${t("people.remove_title", { name: person.name })} text=${t("people.remove_text")} action=${t("people.remove")}
    onConfirm=${leave} onClose=${onClose}
  />`;
}
