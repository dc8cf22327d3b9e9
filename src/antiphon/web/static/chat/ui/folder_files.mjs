/** Files of a folder: chosen and uploaded, as a part of a form. */
import { get, upload } from "../api.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, signal, useEffect, useMemo } from "../vendor/ui.mjs";
import { AttachButton, Attachments, useAttachments } from "./attachments.mjs";

/**
 * Field with files, whose ids go along with the form as `file_id`. Files that are gone are left out.
 *
 * @param {{fileIds: readonly string[]}} props  those that are chosen at first
 */
export function FolderFiles({ fileIds }) {
  const items = useMemo(() => signal(/** @type {any[]} */ ([])), []);
  const attaching = useAttachments({ items, limits: me.value?.limits, upload });
  useEffect(() => {
    void read();
  }, []);
  const read = async () => {
    const files = await Promise.all(fileIds.map((id) => get(`/api/files/${encodeURIComponent(id)}/document`).catch(() => null)));
    const known = files.filter(Boolean).map(({ id, name, size }) => ({ key: id, id, name, size, type: "", state: "ready", progress: 1 }));
    items.value = [...known, ...items.value];
  };
  return html`<fieldset>
    <legend class="label">${t("folders.files")}</legend>
    <p class="hint">${t("folders.files_hint")}</p>
    <${Attachments} items=${items} onRemove=${attaching.remove} onRetry=${attaching.retry} />
    ${items.value.map(({ key, id }) => id && html`<input type="hidden" name="file_id" key=${key} value=${id} />`)}
    <${AttachButton} onFiles=${attaching.add} />
  </fieldset>`;
}
