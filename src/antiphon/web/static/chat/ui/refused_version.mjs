/** Note that another version was refused, at the answer or in the editor of its question. */
import { messageKey } from "../history.mjs";
import { editing, refusedVersion } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useContext } from "../vendor/ui.mjs";
import { Here } from "./here.mjs";
import { Notice } from "./notice.mjs";

/** @param {{question: import("../history.mjs").Message | undefined, isEdited?: boolean}} props  `isEdited` in its editor */
export function RefusedVersion({ question, isEdited = false }) {
  const { at } = useContext(Here);
  const refused = refusedVersion.value;
  if (!refused || !question || refused.question !== messageKey(question) || refused.thread !== at.current.value?.thread.id) return null;
  if (isEdited) return html`<${Notice} bad role="alert" text=${refused.text} hint=${t("hint.not_sent")} />`;
  if (editing.value === refused.question) return null;
  return html`<${Notice} bad className="message-note" role="alert" text=${refused.text} hint=${t(refused.isPartial ? "branches.refused_one" : "branches.refused")}>
    <button type="button" class="button small" onClick=${() => void refused.again()}>${t("common.retry")}</button>
    <button type="button" class="button small quiet" onClick=${() => (refusedVersion.value = null)}>${t("common.close")}</button>
  <//>`;
}
