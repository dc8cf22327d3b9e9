/** Confirmation of an irreversible action. */
import { html } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Form } from "./forms.mjs";

/**
 * @param {{title: string, text: string, action: string, onConfirm: () => Promise<unknown>, onClose: () => void}} props
 */
export function ConfirmDialog({ title, text, action, onConfirm, onClose }) {
  const confirm = async () => {
    await onConfirm();
    onClose();
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Form} onSubmit=${confirm} action=${action} onCancel=${onClose} destroys><p>${text}</p><//>
  <//>`;
}
