/** Labels, fields, and forms that show errors beside their button. */
import { t } from "../t.mjs";
import { cloneElement, html, useId, useState } from "../vendor/ui.mjs";
import { Check } from "./check.mjs";
import { sentence } from "./toasts.mjs";

export { Check };

/**
 * Form field: label, control (the only child), and a hint.
 *
 * @param {{label: string, hint?: string, children?: any}} props
 */
export function Field({ label, hint, children }) {
  const id = useId();
  const control = cloneElement([children].flat()[0], { id, "aria-describedby": hint ? `${id}-hint` : undefined });
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${control} ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/** Invalid input that the form itself refuses, with a message for the user. */
export class FormError extends Error {
  code = "not_taken";
}

/**
 * A form whose work may fail: the fields go to `onSubmit` as text, what goes wrong is told above the
 * buttons, and nothing is sent twice while the work is under way. What `destroys` has a button that
 * looks like it.
 *
 * @param {{
 *   onSubmit: (values: Record<string, string>, form: HTMLFormElement) => Promise<unknown>,
 *   action: string, onCancel?: () => void, destroys?: boolean, className?: string, children?: any,
 * }} props
 */
export function Form({ onSubmit, action, onCancel, destroys = false, className = "stack", children }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const submit = async (/** @type {any} */ event) => {
    event.preventDefault();
    if (busy) return;
    const form = event.currentTarget;
    setBusy(true);
    setProblem(null);
    try {
      await onSubmit(/** @type {any} */ (Object.fromEntries(new FormData(form))), form);
    } catch (failed) {
      setProblem(failed);
    }
    setBusy(false);
  };
  return html`<form class=${className} onSubmit=${submit}>
    ${children} ${problem && html`<p class="note bad" role="alert">${sentence(problem)}</p>`}
    <div class="row actions">
      <button type="submit" class=${`button ${destroys ? "danger" : "primary"}`} aria-disabled=${busy}>
        ${busy && html`<span class="spinner" aria-hidden="true"></span>`}${action}
      </button>
      ${onCancel && html`<button type="button" class="button quiet" onClick=${onCancel}>${t("common.cancel")}</button>`}
    </div>
  </form>`;
}
