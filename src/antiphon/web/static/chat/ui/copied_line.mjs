/** A line to type elsewhere, with a button that copies it. */
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { runAndReport } from "./toasts.mjs";

/** @param {{line: string, label: string}} props */
export function CopiedLine({ line, label }) {
  const [copied, setCopied] = useState("");
  const copy = async () => {
    if (await runAndReport(() => navigator.clipboard.writeText(line))) setCopied(line);
  };
  return html`<div class="copied-line" role="group" aria-label=${label}>
    <${Plain} text=${line} name=${`line:${label}`} judged label=${label} />
    <div class="row">
      <button type="button" class="button small" aria-label=${`${t("common.copy")}: ${label}`} onClick=${copy}><${Icon} name="copy" size=${16} />${t("common.copy")}</button>
      <span role="status" class="muted small">${copied === line && t("common.copied")}</span>
    </div>
  </div>`;
}
