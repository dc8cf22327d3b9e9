/** State of the text of a document that was sent, until it is read, or because it cannot be. */
import { followDocument } from "../attachments.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { readState } from "./attachments.mjs";

/** @param {{id: string, document: import("../documents.mjs").DocumentState}} props */
export function DocumentNote({ id, document }) {
  const [state, setState] = useState(/** @type {typeof document | undefined} */ (document));
  useEffect(() => {
    setState(document);
    let isGone = false;
    if (document.status === "pending") void followDocument(() => readState(id), () => isGone, setState);
    return () => {
      isGone = true;
    };
  }, [id, document.status]);
  if (state?.status === "pending") return html`<span class="attachment-state small muted">${t("document.reading")}</span>`;
  if (state?.status === "failed") return html`<span class="attachment-state small bad">${t(`document.failed_${state.reason}`)}</span>`;
  return null;
}
