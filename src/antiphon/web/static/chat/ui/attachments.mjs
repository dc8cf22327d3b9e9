/** Attachments of a message: dropped, pasted or chosen, with a preview. */
import { html, useEffect, useMemo, useRef, useSignalEffect, useState } from "../vendor/ui.mjs";
import { get } from "../api.mjs";
import { MAX_FILES, createAttachments } from "../attachments.mjs";
import { formatBytes } from "../units.mjs";
import { language, t } from "../t.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";

/** @typedef {import("../attachments.mjs").Attachment} Attachment */

const AttachedFiles = laterView(() => import("./attached_files.mjs").then((module) => module.AttachedFiles), { silent: true });

/**
 * Returns the functions that add, remove and upload the files of this list.
 *
 * @param {{items: {value: Attachment[]}, limits: import("../attachments.mjs").Limits | undefined, upload: import("../attachments.mjs").Upload}} props
 */
export function useAttachments({ items, limits, upload }) {
  const now = useRef(limits);
  now.current = limits;
  const say = (/** @type {import("../attachments.mjs").Refusal} */ { key, values }) =>
    t(key, { ...values, limit: formatBytes(now.current?.upload_bytes ?? 0, language.value) });
  const attaching = useMemo(() => createAttachments({ items, limits: () => now.current ?? {}, upload, say, readState }), [items, upload]);
  useSignalEffect(attaching.followReading); // a draft may have files that were not read yet
  return attaching;
}

/** @param {string} id */
export const readState = (id) => get(`/api/files/${encodeURIComponent(id)}/document`);

/** The files of this list, if there are any. @param {{items: {value: readonly Attachment[]}, onRemove: (key: string) => void, onRetry: (key: string) => void}} props */
export function Attachments(props) {
  return props.items.value.length > 0 && html`<${AttachedFiles} ...${props} />`;
}

/** Button that opens the file chooser: an icon, or in words. @param {{onFiles: (files: Iterable<File>) => void, inWords?: boolean}} props */
export function AttachButton({ onFiles, inWords = false }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const chosen = () => {
    if (!field.current?.files) return;
    onFiles([...field.current.files]);
    field.current.value = ""; // the same file may be chosen again
  };
  const label = t("attach.choose");
  return html`<button
      type="button" class=${inWords ? "button small" : "icon-button"} aria-label=${label} title=${inWords ? undefined : label}
      onClick=${() => field.current?.click()}
    ><${Icon} name="attach" size=${inWords ? 16 : 20} />${inWords && label}</button>
    <input ref=${field} type="file" multiple hidden tabindex="-1" aria-hidden="true" onChange=${chosen} />`;
}

/**
 * Takes files that are dropped anywhere on the page, and says so here while they hang over it: a
 * browser would leave the page for a file that misses its place.
 *
 * @param {{onFiles: (files: Iterable<File>) => void, className?: string, children?: any}} props
 */
export function Drop({ onFiles, className = "", children }) {
  const [over, setOver] = useState(0);
  const latest = useRef(onFiles);
  latest.current = onFiles;
  useEffect(() => listenForDrops(setOver, (files) => latest.current(files)), []);
  return html`<div class=${`drop ${className}`} data-over=${over > 0}>
    ${children}
    ${over > 0 && html`<div class="drop-here" aria-hidden="true"><${Icon} name="attach" size=${28} /><span>${t("attach.drop", { most: MAX_FILES })}</span></div>`}
  </div>`;
}

/**
 * Listens to files that are dragged over the window. Each element they pass is entered and left.
 *
 * @param {(change: (depth: number) => number) => void} setOver
 * @param {(files: File[]) => void} take
 */
function listenForDrops(setOver, take) {
  const heard = {
    dragenter: () => setOver((depth) => depth + 1),
    dragleave: () => setOver((depth) => Math.max(0, depth - 1)),
    dragover: () => {},
    drop: (/** @type {DragEvent} */ event) => {
      setOver(() => 0);
      take([...(event.dataTransfer?.files ?? [])]);
    },
  };
  const listening = new AbortController();
  for (const [kind, act] of Object.entries(heard)) {
    const hear = (/** @type {any} */ event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      act(event);
    };
    window.addEventListener(kind, hear, { signal: listening.signal });
  }
  return () => listening.abort();
}

/**
 * Files that a paste brings. Where it brings words too, as from an office program, the words are meant.
 *
 * @param {ClipboardEvent} event
 * @returns {File[]}
 */
export function pastedFiles(event) {
  const data = event.clipboardData;
  if (!data || data.types.includes("text/plain")) return [];
  return [...data.files];
}

/** @param {DragEvent} event */
const holdsFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));

/** The end of a file's name, as its kind. @param {string} name */
export function kindOf(name) {
  const [, end] = /\.([A-Za-z0-9]{1,5})$/.exec(name) ?? [];
  return end ? end.toUpperCase() : "…";
}
