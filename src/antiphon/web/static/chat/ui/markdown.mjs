/** An answer in Markdown, as an element among others. */
import { markdownView } from "../md.mjs";
import { language, t } from "../t.mjs";
import { html, useLayoutEffect, useRef } from "../vendor/ui.mjs";

/**
 * @param {{text: string, live?: boolean, onCopied?: (text: string) => void, onArtifact?: import("../md.mjs").OnArtifact, sources?: readonly import("../web_sources.mjs").Source[]}} props
 *   `live` while the text still grows; then it is drawn when there is time, else at once
 */
export function Markdown({ text, live = false, onCopied, onArtifact, sources }) {
  const place = useRef(null);
  const view = useRef(/** @type {import("../md.mjs").View | null} */ (null));
  useLayoutEffect(() => {
    view.current = markdownView(/** @type {any} */ (place.current), { labels: labels(), onCopied, onArtifact });
    return () => view.current?.close();
  }, [language.value]);
  useLayoutEffect(() => {
    if (live) view.current?.update(text);
    else view.current?.finish(text, sources);
  }, [text, live, language.value, sources]);
  return html`<div class="markdown" key=${language.value} ref=${place}></div>`;
}

/** @returns {import("../md.mjs").Labels} */
function labels() {
  return {
    copy: t("markdown.copy"),
    copied: t("markdown.copied"),
    code: t("markdown.code"),
    wrap: t("markdown.wrap"),
    numbers: t("markdown.numbers"),
    save: t("markdown.save"),
    table: t("markdown.table"),
    footnote: t("markdown.footnote"),
    toText: t("markdown.to_text"),
    done: t("markdown.done"),
    open: t("markdown.open"),
    source: t("web_sources.mark"),
    artifacts: { html: t("artifact.kind_html"), svg: t("artifact.kind_svg"), mermaid: t("artifact.kind_mermaid"), markdown: t("artifact.kind_markdown") },
    openArtifact: t("artifact.open"),
    showCode: t("artifact.show_code"),
  };
}
