/** Box to tick, with its label and a hint. */
import { html } from "../vendor/ui.mjs";

/**
 * @param {{label: string, hint?: string, onChange?: (checked: boolean) => void} & Record<string, any>} props
 */
export function Check({ label, hint, onChange, ...rest }) {
  const changed = (/** @type {any} */ event) => onChange?.(event.currentTarget.checked);
  return html`<label class="check">
    <input type="checkbox" ...${rest} onChange=${changed} />
    <span>${label}${hint && html`<span class="hint block">${hint}</span>`}</span>
  </label>`;
}
