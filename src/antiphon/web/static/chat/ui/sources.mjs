/** Pages of documents under an answer that stands on them. */
import { sourcesOf } from "../documents.mjs";
import { revealText } from "../hidden_characters.mjs";
import { t } from "../t.mjs";
import { html, useMemo, useState } from "../vendor/ui.mjs";
import { DocumentViewer } from "./document_viewer.mjs";
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
