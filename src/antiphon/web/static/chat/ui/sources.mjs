/** The list of sources below an answer. */
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Word } from "./word.mjs";

/** @param {{sources: readonly import("../sources.mjs").Source[]}} props */
export function Sources({ sources }) {
  if (sources.length === 0) return null;
  return html`<section class="sources small" aria-label=${t("sources.title")}>
    <p class="sources-title" aria-hidden="true">${t("sources.title")}</p>
    <ol>
      ${sources.map(
        ({ url, title }, place) => html`<li key=${url} class="source" data-number=${place + 1}>
          <a href=${url} target="_blank" rel="noopener noreferrer nofollow" title=${url}><${Word} text=${title || url} most=${100} /></a>
          <span class="muted"> ${new URL(url).host}</span>
        </li>`,
      )}
    </ol>
  </section>`;
}
