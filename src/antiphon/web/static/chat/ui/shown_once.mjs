/** Dialog with a secret that is shown this once. */
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Icon } from "./icons.mjs";
import { toast, runAndReport } from "./toasts.mjs";

/** @param {{title: string, text: string, label: string, secret: string, onClose: () => void}} props */
export function ShownOnce({ title, text, label, secret, onClose }) {
  const copy = async () => {
    if (await runAndReport(() => navigator.clipboard.writeText(secret))) toast({ text: t("common.copied") });
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <div class="stack">
      <p>${text}</p>
      <input class="input mono" readonly value=${secret} aria-label=${label} onFocus=${(/** @type {any} */ event) => event.currentTarget.select()} />
      <div class="row">
        <button type="button" class="button primary" onClick=${copy}><${Icon} name="copy" size=${18} />${t("common.copy")}</button>
        <button type="button" class="button quiet" onClick=${onClose}>${t("keys.kept")}</button>
      </div>
    </div>
  <//>`;
}
