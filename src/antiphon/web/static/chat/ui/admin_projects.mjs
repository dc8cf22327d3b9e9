/** Projects: create, rename, disable, remove. */
import { get, patch, post, remove } from "../api.mjs";
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

/** @typedef {{id: string, name: string, disabled: boolean, created_at: number}} Project */

const address = (/** @type {Project} */ project) => `/api/admin/projects/${encodeURIComponent(project.id)}`;

export function Projects() {
  const loaded = useLoad(() => get("/api/admin/projects"));
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const done = async () => {
    close();
    await loaded.again();
  };
  const make = ({ name }) => post("/api/admin/projects", { name });
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.projects")}</h2>
        <p class="muted">${t("projects.hint")}</p>
      </div>
      <button type="button" class="button primary" onClick=${() => setDialog(html`<${NameDialog} title=${t("projects.make")} save=${make} onDone=${done} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("projects.make")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${ProjectTable} projects=${data} setDialog=${setDialog} onDone=${done} onClose=${close} />` : html`<p class="empty">${t("projects.none")}</p>`)}<//>
    ${dialog}
  `;
}

function ProjectTable(/** @type {any} */ { projects, setDialog, onDone, onClose }) {
  const columns = [
    { name: t("projects.name"), show: (/** @type {Project} */ project) => html`<strong dir="auto">${project.name}</strong>` },
    { name: t("projects.id"), show: (/** @type {Project} */ project) => html`<span class="mono small breaks">${project.id}</span>` },
    { name: t("people.state"), show: (/** @type {Project} */ project) => html`<span class=${project.disabled ? "badge bad" : "badge"}>${t(project.disabled ? "people.disabled" : "people.active")}</span>` },
    { name: t("keys.made"), show: (/** @type {Project} */ project) => ago(project.created_at) },
    { name: "", show: (/** @type {Project} */ project) => html`<${Menu} label=${t("people.actions", { name: project.name })} choices=${choicesFor(project, setDialog, onDone, onClose)} />` },
  ];
  return html`<${Table} caption=${t("admin.projects")} columns=${columns} rows=${projects} keyOf=${(/** @type {Project} */ project) => project.id} />`;
}

function choicesFor(/** @type {Project} */ project, /** @type {any} */ setDialog, /** @type {any} */ onDone, /** @type {any} */ onClose) {
  const rename = ({ name }) => patch(address(project), { name });
  const enable = async () => {
    if (await runAndReport(() => patch(address(project), { disabled: false }))) toast({ text: t("projects.enabled_now", { name: project.name }) });
    await onDone();
  };
  const asked = (/** @type {string} */ what, /** @type {() => Promise<unknown>} */ act) => () =>
    setDialog(html`<${ConfirmDialog}
      title=${t(`projects.${what}_title`, { name: project.name })} text=${t(`projects.${what}_text`)} action=${t(`projects.${what}`)}
      onConfirm=${async () => {
        await act();
        await onDone();
      }}
      onClose=${onClose}
    />`);
  return [
    { label: t("projects.rename"), icon: "edit", run: () => setDialog(html`<${NameDialog} title=${t("projects.rename")} name=${project.name} save=${rename} onDone=${onDone} onClose=${onClose} />`) },
    project.disabled
      ? { label: t("people.enable"), icon: "check", run: enable }
      : { label: t("projects.disable"), icon: "stop", run: asked("disable", () => patch(address(project), { disabled: true })) },
    { label: t("projects.remove"), icon: "trash", danger: true, run: asked("remove", () => remove(address(project))) },
  ];
}

/** Asks for a name. */
function NameDialog(/** @type {{title: string, name?: string, save: (values: any) => Promise<unknown>, onDone: () => Promise<void>, onClose: () => void}} */ { title, name, save, onDone, onClose }) {
  const submit = async (/** @type {Record<string, string>} */ values) => {
    await save(values);
    await onDone();
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Form} onSubmit=${submit} action=${t("common.save")} onCancel=${onClose}>
      <${Field} label=${t("projects.name")}><input class="input" name="name" required maxlength="100" autocomplete="off" defaultValue=${name} /><//>
    <//>
  <//>`;
}
