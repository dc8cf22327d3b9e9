/** An answer in Markdown, as an element among others. */
import { markdownView } from "../md.mjs";
import { language, t } from "../t.mjs";
import { html, useLayoutEffect, useRef } from "../vendor/ui.mjs";

/**
 * @param {{text: string, live?: boolean, onCopied?: (text: string) => void}} props
 *   `live` while the text still grows; then it is drawn when there is time, else at once
 */
export function Markdown({ text, live = false, onCopied }) {
  const place = useRef(null);
  const view = useRef(/** @type {import("../md.mjs").View | null} */ (null));
  useLayoutEffect(() => {
    view.current = markdownView(/** @type {any} */ (place.current), { labels: labels(), onCopied });
    return () => view.current?.close();
  }, [language.value]);
  useLayoutEffect(() => {
    if (live) view.current?.update(text);
    else view.current?.finish(text);
  }, [text, live, language.value]);
  return html`<div class="markdown" key=${language.value} ref=${place}></div>`;
}

/** @returns {import("../md.mjs").Labels} */
function labels() {
  return {
    copy: t("markdown.copy"),
    copied: t("markdown.copied"),
    code: t("markdown.code"),
    table: t("markdown.table"),
    done: t("markdown.done"),
    open: t("markdown.open"),
  };
}
