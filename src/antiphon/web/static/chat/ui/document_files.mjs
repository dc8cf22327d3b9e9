/** Files of an assistant or a folder: chosen, uploaded and read, as a part of a form. */
import { get, upload } from "../api.mjs";
import { me } from "../store.mjs";
import { html, signal, useEffect, useMemo } from "../vendor/ui.mjs";
import { AttachButton, Attachments, useAttachments } from "./attachments.mjs";

/**
 * Field with files, whose ids go along with the form as `file_id`.
 *
 * @param {{fileIds: readonly string[], label: string, hint: string}} props  `fileIds` are chosen at first
 */
export function DocumentFiles({ fileIds, label, hint }) {
  const items = useMemo(() => signal(/** @type {any[]} */ ([])), []);
  const attaching = useAttachments({ items, limits: me.value?.limits, upload });
  useEffect(() => {
    for (const id of fileIds) void load(id);
  }, []);
  const load = async (/** @type {string} */ id) => {
    const file = await get(`/api/files/${encodeURIComponent(id)}/document`).catch(() => null);
    if (!file) return;
    items.value = [...items.value, { key: id, id, name: file.name, size: file.size, type: "", state: "ready", progress: 1, document: file.document ?? undefined }];
  };
  return html`<fieldset class="document-files">
    <legend class="label">${label}</legend>
    <p class="hint">${hint}</p>
    <${Attachments} items=${items} onRemove=${attaching.remove} onRetry=${attaching.retry} />
    ${items.value.map(({ key, id }) => id && html`<input type="hidden" name="file_id" key=${key} value=${id} />`)}
    <${AttachButton} onFiles=${attaching.add} inWords />
  </fieldset>`;
}

