/** Dialogs of folders: name, instructions and files, where threads are moved to, and the deletion. */
import { moveThreads, readInstructions, saveFolder } from "../folders.mjs";
import { folders, marked } from "../store.mjs";
import { t } from "../t.mjs";
import { findRow } from "../threads.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { DocumentFiles } from "./document_files.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { runAndReport } from "./toasts.mjs";

const NAME_CHARACTERS = 128;
const INSTRUCTIONS_CHARACTERS = 32_768;
const NEW = "new";

/** @param {{folder: import("../folders.mjs").Folder | null, onClose: () => void}} props */
export function FolderDialog({ folder, onClose }) {
  const [known, setKnown] = useState(folder ? null : { name: "", instructions: "", file_ids: [] });
  useEffect(() => {
    if (folder) void runAndReport(async () => setKnown(await readInstructions(folder.id)));
  }, []);
  const save = async (/** @type {Record<string, string>} */ { name, instructions }, /** @type {HTMLFormElement} */ form) => {
    await saveFolder(folder?.id ?? null, { name, instructions, file_ids: new FormData(form).getAll("file_id").map(String) });
    onClose();
  };
  return html`<${Dialog} title=${t(folder ? "folders.edit" : "folders.new")} onClose=${onClose}>
    ${known === null
      ? html`<p class="muted" role="status">${t("common.loading")}</p>`
      : html`<${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}>
          <${Field} label=${t("folders.name")}>
            <input class="input" name="name" required maxlength=${NAME_CHARACTERS} dir="auto" autocomplete="off" defaultValue=${known.name} autofocus />
          <//>
          <${Field} label=${t("folders.instructions")} hint=${t("folders.instructions_hint")}>
            <textarea class="input" name="instructions" rows="8" maxlength=${INSTRUCTIONS_CHARACTERS} dir="auto" defaultValue=${known.instructions}></textarea>
          <//>
          <${DocumentFiles} fileIds=${known.file_ids} label=${t("folders.files")} hint=${t("folders.files_hint")} />
        <//>`}
  <//>`;
}

/** @param {{ids: string[], onClose: () => void}} props */
export function MoveDialog({ ids, onClose }) {
  const here = ids.length === 1 ? (findRow(ids[0])?.folder_id ?? "") : "";
  const [chosen, setChosen] = useState(folders.value.length > 0 ? here : NEW);
  const save = async (/** @type {Record<string, string>} */ { folder, name }) => {
    const to = folder === NEW ? (await saveFolder(null, { name })).id : folder;
    marked.value = null;
    onClose();
    void moveThreads(ids, to || null);
  };
  return html`<${Dialog} title=${t("folders.move")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("folders.move_here")} onCancel=${onClose}>
      <${Field} label=${t("folders.choose")}>
        <select class="input" name="folder" value=${chosen} onChange=${(/** @type {any} */ event) => setChosen(event.currentTarget.value)}>
          <option value="">${t("folders.none")}</option>
          ${folders.value.map(({ id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}
          <option value=${NEW}>${t("folders.new")}</option>
        </select>
      <//>
      ${chosen === NEW &&
      html`<${Field} label=${t("folders.name")}>
        <input class="input" name="name" required maxlength=${NAME_CHARACTERS} dir="auto" autocomplete="off" />
      <//>`}
    <//>
  <//>`;
}

/** @param {{onClose: () => void, onConfirm: (withThreads: boolean) => void}} props */
export function DeleteDialog({ onClose, onConfirm }) {
  const confirm = async (/** @type {Record<string, string>} */ values) => {
    onClose();
    onConfirm("threads" in values);
  };
  return html`<${Dialog} title=${t("folders.delete")} onClose=${onClose}>
    <${Form} onSubmit=${confirm} action=${t("folders.delete")} onCancel=${onClose} destroys>
      <p>${t("folders.delete_text")}</p>
      <${Check} name="threads" label=${t("folders.delete_threads")} />
    <//>
  <//>`;
}
