/** The list of web pages below an answer that cites them. */
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Word } from "./word.mjs";

/** @param {{sources: readonly import("../web_sources.mjs").Source[]}} props */
export function WebSources({ sources }) {
  if (sources.length === 0) return null;
  return html`<section class="web-sources small" aria-label=${t("web_sources.title")}>
    <p class="web-sources-title" aria-hidden="true">${t("web_sources.title")}</p>
    <ol>
      ${sources.map(
        ({ url, title }, place) => html`<li key=${url} class="web-source" data-number=${place + 1}>
          <a href=${url} target="_blank" rel="noopener noreferrer nofollow" title=${url}><${Word} text=${title || url} most=${100} /></a>
          <span class="muted"> ${new URL(url).host}</span>
        </li>`,
      )}
    </ol>
  </section>`;
}
