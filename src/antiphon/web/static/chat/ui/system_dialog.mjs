/** Dialog of the instructions of a chat. */
import { threadSystem } from "../store.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";

/** @param {{onClose: () => void}} props */
export function SystemDialog({ onClose }) {
  const keep = async (/** @type {Record<string, string>} */ { system }) => {
    threadSystem.value = system.trim() || null;
    onClose();
  };
  return html`<${Dialog} title=${t("system.title")} onClose=${onClose}>
    <${Form} onSubmit=${keep} action=${t("common.save")} onCancel=${onClose}>
      <${Field} label=${t("system.label")} hint=${t("system.hint")}>
        <textarea class="input" name="system" rows="8" dir="auto" defaultValue=${threadSystem.value ?? ""}></textarea>
      <//>
    <//>
  <//>`;
}
