/** Files of a message. */
import { isPicture } from "../attachments.mjs";
import { revealText } from "../hidden_characters.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { kindOf } from "./attachments.mjs";
import { laterView } from "./later_view.mjs";
import { openLightbox } from "./pictures.mjs";
import { Word } from "./word.mjs";

const DocumentNote = laterView(() => import("./document_note.mjs").then((module) => module.DocumentNote), { silent: true, idle: false });

const DocumentViewer = laterView(() => import("./document_viewer.mjs").then((module) => module.DocumentViewer), { over: true, idle: false });

/**
 * Files of a message that was sent: its pictures, which open in the light box, and below them the
 * others: a PDF is opened, and all others are saved.
 *
 * @param {{parts: readonly {type: string, url?: string, mediaType?: string, filename?: string, providerMetadata?: any}[]}} props
 */
export function AttachmentList({ parts }) {
  const [broken, setBroken] = useState(/** @type {readonly string[]} */ ([]));
  const [opened, setOpened] = useState(/** @type {import("../documents.mjs").Source | null} */ (null));
  const files = parts.map(({ url = "", mediaType = "", filename, providerMetadata }) => {
    const address = /^\/api\/files\/[\w-]+$/.test(url) ? url : undefined;
    const document = providerMetadata?.antiphon?.document;
    return { address, id: address?.split("/").at(-1) ?? "", document: document?.status === "ready" ? null : document, name: filename || t("attach.file"), isShown: Boolean(address) && isPicture(mediaType) && !broken.includes(url) };
  });
  const pictures = files.flatMap(({ address, name, isShown }) => (address && isShown ? [{ address, name }] : []));
  const others = files.filter(({ isShown }) => !isShown);
  const open = (/** @type {number} */ place) => openLightbox(pictures, place);
  return html`<div class="attachments-sent">
    ${pictures.length > 0 &&
    html`<ul class="pictures" data-many=${pictures.length > 1} aria-label=${t("attach.pictures")}>
      ${pictures.map(({ address, name }, place) => {
        const label = t("attach.enlarge", { name: revealText(name) });
        return html`<li key=${address}><button type="button" class="picture" aria-label=${label} title=${label} onClick=${() => open(place)}>
          <img src=${`${address}?inline=1`} alt="" loading="lazy" onError=${() => setBroken([...broken, address])} />
        </button></li>`;
      })}
    </ul>`}
    ${others.length > 0 &&
    html`<ul class="attachments" aria-label=${t("attach.list")}>
      ${others.map(({ address, id, document, name }, place) => {
        const words = html`<span class="attachment-kind" aria-hidden="true">${kindOf(name)}</span><span class="attachment-words"><span class="attachment-name clipped"><${Word} text=${name} /></span>${document && html`<${DocumentNote} id=${id} document=${document} />`}</span>`;
        const open = () => setOpened({ id, file: name, page: 1, query: "" });
        return html`<li key=${place}>
          ${address && kindOf(name) === "PDF"
            ? html`<button type="button" class="attachment" title=${revealText(name)} onClick=${open}>${words}</button>`
            : html`<a class="attachment" href=${address} download=${name} title=${revealText(name)}>${words}</a>`}
        </li>`;
      })}
    </ul>`}
    ${opened && html`<${DocumentViewer} source=${opened} asPicture onClose=${() => setOpened(null)} />`}
  </div>`;
}
