/** A dialog with one page of a document, as text or as a picture, and the way to its neighbours. */
import { get } from "../api.mjs";
import { cutAtHighlights } from "../documents.mjs";
import { revealText } from "../hidden_characters.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Icon } from "./icons.mjs";
import { sentence } from "./toasts.mjs";
import { Word } from "./word.mjs";

/** Milliseconds for which a page is open before it is drawn. */
const TURN_MS = 150;

/**
 * With `asPicture` the page is first shown as a picture, else as its text, in which the words that were searched
 * are marked. Only pages of a PDF have pictures.
 *
 * @param {{source: import("../documents.mjs").Source, asPicture?: boolean, onClose: () => void}} props
 */
export function DocumentViewer({ source, asPicture = false, onClose }) {
  const [number, setNumber] = useState(source.page);
  const [page, setPage] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState("");
  const [isPicture, setIsPicture] = useState(asPicture);
  const address = `/api/files/${encodeURIComponent(source.id)}`;
  useEffect(() => {
    const leaving = new AbortController();
    setProblem("");
    get(`${address}/pages/${number}`, { query: { q: source.query }, signal: leaving.signal }).then(setPage, (failed) => {
      if (!leaving.signal.aborted) setProblem(sentence(failed));
    });
    return () => leaving.abort();
  }, [source.id, number]);
  const step = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {number} */ to) =>
    html`<button type="button" class="icon-button" aria-label=${label} title=${label} disabled=${to < 1 || (page && to > page.pages)} onClick=${() => setNumber(to)}><${Icon} name=${icon} /></button>`;
  const form = (/** @type {boolean} */ picture, /** @type {string} */ label) =>
    html`<button type="button" class="artifact-tab" aria-pressed=${isPicture === picture} onClick=${() => setIsPicture(picture)}>${label}</button>`;
  const hasPicture = page ? page.has_picture : asPicture;
  return html`<${Dialog} title=${revealText(source.file)} onClose=${onClose} className="document">
    <div class="row document-bar">
      ${step("left", t("sources.previous"), number - 1)}
      <p class="grow" role="status">${page ? t("sources.page", { page: page.number, of: page.pages }) : problem ? "" : t("common.loading")}${page?.title && html` <span class="muted"><${Word} text=${page.title} /></span>`}</p>
      ${hasPicture && html`<div class="row" role="group" aria-label=${t("sources.form")}>${form(true, t("sources.as_picture"))}${form(false, t("sources.as_text"))}</div>`}
      ${step("right", t("sources.next"), number + 1)}
      <a class="icon-button" href=${address} download=${source.file} aria-label=${t("sources.download")} title=${t("sources.download")}><${Icon} name="export" /></a>
    </div>
    ${isPicture && hasPicture
      ? html`<${PagePicture} key=${number} address=${`${address}/picture?page=${number}`} name=${t("sources.picture", { file: revealText(source.file), page: number })} />`
      : html`${problem && html`<p class="bad" role="alert">${problem}</p>`}
          ${page && html`<div class="document-text" tabindex="0" dir="auto" role="region" aria-label=${t("sources.text")}>
            ${page.text.trim() ? cutAtHighlights(page.text, page.highlights).map(({ text, isFound }) => (isFound ? html`<mark>${text}</mark>` : revealText(text))) : html`<p class="muted">${t("sources.blank")}</p>`}
          </div>`}`}
  <//>`;
}

/** Draws a page that is still open after a moment: others were only turned over. @param {{address: string, name: string}} props */
function PagePicture({ address, name }) {
  const [state, setState] = useState(/** @type {"turning" | "loading" | "shown" | "failed"} */ ("turning"));
  useEffect(() => {
    const timer = setTimeout(() => setState("loading"), TURN_MS);
    return () => clearTimeout(timer);
  }, []);
  if (state === "failed") return html`<p class="muted" role="alert">${t("sources.no_picture")}</p>`;
  return html`<div class="document-picture" tabindex="0" role="region" aria-label=${name} aria-busy=${state !== "shown"}>
    ${state !== "shown" && html`<p class="waiting muted" role="status"><span class="spinner" aria-hidden="true"></span>${t("common.loading")}</p>`}
    ${state !== "turning" && html`<img src=${address} alt=${name} onLoad=${() => setState("shown")} onError=${() => setState("failed")} />`}
  </div>`;
}
