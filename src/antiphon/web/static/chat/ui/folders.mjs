/** Folders in the sidebar: each with its threads, opened and closed by its name. */
import { deleteFolder, isOpen, loadFolders, moreInFolder, nameOf, newThreadIn, openFolder } from "../folders.mjs";
import { beginsInFolder, current, folders, folderThreads, listsRead } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useId, useState } from "../vendor/ui.mjs";
import { DeleteDialog, FolderDialog } from "./folder_dialogs.mjs";
import { Icon } from "./icons.mjs";
import { Menu } from "./menu.mjs";
import { closeOnPhone } from "./sidebar_state.mjs";
import { ThreadRow } from "./thread_row.mjs";

/** @typedef {import("../folders.mjs").Folder} Folder */

export function Folders() {
  const [adding, setAdding] = useState(false);
  const id = useId();
  useEffect(() => {
    void loadFolders();
  }, [listsRead.value]);
  return html`<section class="folders" aria-labelledby=${id}>
    <div class="folders-head">
      <h2 id=${id}>${t("folders.title")}</h2>
      <button
        type="button" class="icon-button" aria-label=${t("folders.new")} title=${t("folders.new")} aria-haspopup="dialog"
        onClick=${() => setAdding(true)}
      ><${Icon} name="new" size=${18} /></button>
    </div>
    ${folders.value.length > 0 &&
    html`<ul class="thread-list">${folders.value.map((folder) => html`<${FolderItem} key=${folder.id} folder=${folder} />`)}</ul>`}
    ${adding && html`<${FolderDialog} folder=${null} onClose=${() => setAdding(false)} />`}
  </section>`;
}

/** @param {{folder: Folder}} props */
function FolderItem({ folder }) {
  const [step, setStep] = useState("");
  const id = useId();
  const open = isOpen(folder.id);
  const begin = () => {
    newThreadIn(folder.id);
    closeOnPhone();
  };
  const choices = [
    { label: t("folders.new_chat"), icon: "compose", run: begin },
    { label: t("folders.edit"), icon: "edit", run: () => setStep("edit") },
    { label: t("folders.delete"), icon: "trash", danger: true, run: () => setStep("delete") },
  ];
  const end = () => setStep("");
  return html`<li>
    <div class="thread folder">
      <button
        type="button" class="folder-name" aria-expanded=${open} aria-controls=${id} title=${folder.name}
        onClick=${() => openFolder(folder.id, !open)}
      ><${Icon} name=${open ? "down" : "right"} size=${16} /><${Icon} name="folder" size=${18} /><span class="clipped" dir="auto">${folder.name}</span></button>
      <${Menu} label=${t("folders.actions", { name: folder.name })} choices=${choices} />
    </div>
    <div id=${id} class="folder-threads" hidden=${!open}>${open && html`<${FolderThreads} id=${folder.id} />`}</div>
    ${step === "edit" && html`<${FolderDialog} folder=${folder} onClose=${end} />`}
    ${step === "delete" &&
    html`<${DeleteDialog} onClose=${end} onConfirm=${(/** @type {boolean} */ withThreads) => deleteFolder(folder, withThreads)} />`}
  </li>`;
}

/** @param {{id: string}} props */
function FolderThreads({ id }) {
  const page = folderThreads.value[id];
  if (!page) return html`<p class="side-empty muted small" role="status">${t("common.loading")}</p>`;
  if (page.data.length === 0) return html`<p class="side-empty muted small">${t("folders.empty")}</p>`;
  return html`<ul class="thread-list">${page.data.map((thread) => html`<${ThreadRow} key=${thread.id} thread=${thread} hits=${[]} />`)}</ul>
    ${page.next && html`<button type="button" class="button quiet small more" onClick=${() => moreInFolder(id)}>${t("sidebar.more")}</button>`}`;
}

/** Mark of a chat in a folder; one that has not begun can be taken out. */
export function FolderMark() {
  const open = current.value?.thread;
  const name = nameOf(open ? open.folder_id : beginsInFolder.value);
  if (name === undefined) return null;
  return html`<p class="folder-mark small">
    <${Icon} name="folder" size=${16} /><span class="grow clipped" dir="auto">${t("folders.mark", { name })}</span>
    ${!open && html`<button type="button" class="button quiet small" onClick=${() => (beginsInFolder.value = null)}>${t("folders.leave")}</button>`}
  </p>`;
}
