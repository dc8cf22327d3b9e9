/** Threads that are marked in the list, and the changes of all of them at once. */
import { folderThreads, marked, moving, threads } from "../store.mjs";
import { t, tCount } from "../t.mjs";
import { changeMany, deleteThreads } from "../threads.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";

/** Buttons and dialogs that change the marked threads. @param {{ids: string[]}} props */
export function MarkedThreads({ ids }) {
  const [step, setStep] = useState("");
  const { data, archived } = threads.value;
  const end = () => (marked.value = null);
  const change = (/** @type {{action: string, tags?: string[]}} */ wanted) => {
    void changeMany(ids, wanted);
    end();
  };
  const tag = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const written = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("tags");
    const tags = String(written).split(",").map((each) => each.trim()).filter(Boolean);
    if (tags.length > 0) change({ action: "tag", tags });
  };
  const none = ids.length === 0;
  return html`<div class="side-marked" role="group" aria-label=${tCount("sidebar.selected", ids.length)}>
    <p class="small" role="status">${tCount("sidebar.selected", ids.length)}</p>
    <button type="button" class="button quiet small" onClick=${end}>${t("common.cancel")}</button>
    <button
      type="button" class="button quiet small all"
      onClick=${() => (marked.value = new Set(data.map((/** @type {{id: string}} */ one) => one.id)))}
    >${t("sidebar.select_all")}</button>
    <button
      type="button" class="button quiet small" disabled=${none}
      onClick=${() => change({ action: archived ? "unarchive" : "archive" })}
    >${t(archived ? "threads.unarchive" : "threads.archive")}</button>
    <button type="button" class="button quiet small" disabled=${none} onClick=${() => (moving.value = ids)}>${t("folders.move")}</button>
    <button type="button" class="button quiet small" disabled=${none} onClick=${() => setStep("tag")}>${t("threads.tags")}</button>
    <button type="button" class="button quiet small danger" disabled=${none} onClick=${() => setStep("delete")}>${t("threads.delete")}</button>
    ${step === "tag" &&
    html`<form class="side-tags" onSubmit=${tag}>
      <input class="input" name="tags" maxlength="700" dir="auto" aria-label=${t("threads.tags_field")} placeholder=${t("threads.tags_field")} />
      <button type="submit" class="button small">${t("sidebar.add_tags")}</button>
    </form>`}
    ${step === "delete" &&
    html`<${ConfirmDialog}
      title=${t("sidebar.delete_many")} text=${tCount("sidebar.delete_text", ids.length)} action=${t("threads.delete")}
      onClose=${() => setStep("")}
      onConfirm=${async () => {
        deleteThreads(ids);
        end();
      }}
    />`}
  </div>`;
}
