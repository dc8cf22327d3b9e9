/** Files of a message that is written: a picture or the kind of each, its progress, and how far its text is read. */
import { isPicture } from "../attachments.mjs";
import { revealText } from "../hidden_characters.mjs";
import { tCount, language, t } from "../t.mjs";
import { formatBytes } from "../units.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { kindOf } from "./attachments.mjs";
import { Icon } from "./icons.mjs";
import { Word } from "./word.mjs";

/** @typedef {import("../attachments.mjs").Attachment} Attachment */

/** The files of this list in a row, each with its picture, its progress or what is wrong with it. @param {{items: {value: readonly Attachment[]}, onRemove: (key: string) => void, onRetry: (key: string) => void}} props */
export function AttachedFiles({ items, onRemove, onRetry }) {
  return html`<ul class="attachments" aria-label=${t("attach.list")}>
    ${items.value.map((item) => html`<${Attached} key=${item.key ?? item.id} item=${item} onRemove=${onRemove} onRetry=${onRetry} />`)}
  </ul>`;
}

/** @param {{item: Attachment, onRemove: (key: string) => void, onRetry: (key: string) => void}} props */
function Attached({ item, onRemove, onRetry }) {
  const key = item.key ?? item.id ?? "";
  const failed = item.state === "failed";
  const isBad = failed || item.document?.status === "failed";
  const name = revealText(item.name);
  return html`<li class="attachment" data-state=${item.state ?? "ready"}>
    <${Preview} item=${item} />
    <span class="attachment-words">
      <span class="attachment-name clipped" title=${name}><${Word} text=${item.name} /></span>
      <span class="attachment-state small ${isBad ? "bad" : "muted"}">${failed ? item.problem : stateWords(item)}</span>
      ${item.state === "uploading" && html`<progress value=${item.progress} max="1" aria-label=${t("attach.uploading", { name })}></progress>`}
    </span>
    ${failed && !item.refused && html`<button type="button" class="icon-button" aria-label=${t("attach.retry", { name })} title=${t("attach.retry", { name })} onClick=${() => onRetry(key)}><${Icon} name="retry" size=${18} /></button>`}
    <button type="button" class="icon-button" aria-label=${t("attach.remove", { name })} title=${t("attach.remove", { name })} onClick=${() => onRemove(key)}><${Icon} name="close" size=${18} /></button>
  </li>`;
}

/** Returns the size of a file, and how far its text is read. @param {Attachment} item */
function stateWords({ size, document }) {
  const words = size > 0 ? [formatBytes(size, language.value)] : [];
  if (document?.status === "pending") words.push(t("document.reading"));
  if (document?.status === "ready") words.push(tCount("document.pages", document.pages ?? 0));
  if (document?.status === "failed") words.push(t(`document.failed_${document.reason}`));
  return words.join(" · ");
}

/** @param {{item: Attachment}} props */
function Preview({ item }) {
  const [broken, setBroken] = useState(false);
  const source = item.preview ?? (item.id && isPicture(item.type) ? `/api/files/${encodeURIComponent(item.id)}?inline=1` : null);
  if (!source || broken) return html`<span class="attachment-kind" aria-hidden="true">${kindOf(item.name)}</span>`;
  return html`<img class="attachment-picture" src=${source} alt="" onError=${() => setBroken(true)} />`;
}
