/** Pages of documents under an answer that stands on them, and the page that is opened. */
import { get } from "../api.mjs";
import { cutAtHighlights, sourcesOf } from "../documents.mjs";
import { revealText } from "../hidden_characters.mjs";
import { tCount, t } from "../t.mjs";
import { html, useEffect, useMemo, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Icon } from "./icons.mjs";
import { sentence } from "./toasts.mjs";
import { Word } from "./word.mjs";

/** @typedef {import("../documents.mjs").Source} Source */

/** @param {{parts: readonly any[]}} props */
export function Sources({ parts }) {
  const sources = useMemo(() => sourcesOf(parts), [parts]);
  const [opened, setOpened] = useState(/** @type {Source | null} */ (null));
  if (sources.length === 0) return null;
  return html`<nav class="sources" aria-label=${t("sources.label")}>
    <span class="muted small">${t("sources.label")}</span>
    ${sources.map((source) => {
      const label = t("sources.open", { file: revealText(source.file), page: source.page });
      return html`<button type="button" class="button small quiet source" key=${`${source.id}#${source.page}`} aria-label=${label} title=${label} onClick=${() => setOpened(source)}>
        <span class="clipped"><${Word} text=${source.file} most=${40} /></span> <span class="numbers muted">${source.page}</span>
      </button>`;
    })}
    ${opened && html`<${DocumentViewer} source=${opened} onClose=${() => setOpened(null)} />`}
  </nav>`;
}

/** A page of a document, with the words that were searched, and its neighbours. @param {{source: Source, onClose: () => void}} props */
export function DocumentViewer({ source, onClose }) {
  const [number, setNumber] = useState(source.page);
  const [page, setPage] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const leaving = new AbortController();
    setProblem("");
    get(`/api/files/${encodeURIComponent(source.id)}/pages/${number}`, { query: { q: source.query }, signal: leaving.signal }).then(setPage, (failed) => {
      if (!leaving.signal.aborted) setProblem(sentence(failed));
    });
    return () => leaving.abort();
  }, [source.id, number]);
  const step = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {number} */ to) =>
    html`<button type="button" class="icon-button" aria-label=${label} title=${label} disabled=${to < 1 || (page && to > page.pages)} onClick=${() => setNumber(to)}><${Icon} name=${icon} /></button>`;
  return html`<${Dialog} title=${revealText(source.file)} onClose=${onClose} className="document">
    <div class="row document-bar">
      ${step("left", t("sources.previous"), number - 1)}
      <p class="grow" role="status">${page ? t("sources.page", { page: page.number, of: page.pages }) : t("common.loading")}${page?.title && html` <span class="muted"><${Word} text=${page.title} /></span>`}</p>
      ${step("right", t("sources.next"), number + 1)}
      <a class="icon-button" href=${`/api/files/${encodeURIComponent(source.id)}`} download=${source.file} aria-label=${t("sources.download")} title=${t("sources.download")}><${Icon} name="export" /></a>
    </div>
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    ${page && html`<div class="document-text" tabindex="0" dir="auto" role="region" aria-label=${t("sources.text")}>
      ${page.text.trim() ? cutAtHighlights(page.text, page.highlights).map(({ text, isFound }) => (isFound ? html`<mark>${text}</mark>` : revealText(text))) : html`<p class="muted">${t("sources.blank")}</p>`}
    </div>`}
    ${page && page.pages > 1 && html`<p class="muted small">${tCount("document.pages", page.pages)}</p>`}
  <//>`;
}
