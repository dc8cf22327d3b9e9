/** One thing at a time before the rest of the page: what is behind it rests until it is closed. */
import { html, useEffect, useId, useRef } from "../vendor/ui.mjs";
import { t } from "../t.mjs";
import { Icon } from "./icons.mjs";

/**
 * A dialog, open as long as it is drawn. Esc, a click beside it and its own button ask to close it.
 *
 * The browser keeps the focus inside; afterwards it is where it was before. An element with
 * `autofocus` has it first, else the first field, else the dialog itself.
 *
 * @param {{title: string, onClose: () => void, className?: string, children?: any}} props
 */
export function Dialog({ title, onClose, className = "", children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();

  useEffect(() => {
    const opened = dialog.current;
    const before = document.activeElement;
    opened?.showModal();
    firstToFocus(opened)?.focus();
    return () => {
      opened?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  const asked = (/** @type {Event} */ event) => {
    event.preventDefault();
    onClose();
  };
  const beside = (/** @type {MouseEvent} */ event) => {
    if (event.target === dialog.current && !within(dialog.current, event)) onClose();
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    // Esc is for the dialog alone: the page has a meaning for it too.
    event.stopPropagation();
  };

  return html`<dialog
    ref=${dialog} class=${`dialog ${className}`} aria-labelledby=${id} tabindex="-1"
    onCancel=${asked} onPointerDown=${beside} onKeyDown=${keyed}
  >
    <header class="dialog-head">
      <h2 id=${id}>${title}</h2>
      <button type="button" class="icon-button" aria-label=${t("dialog.close")} title=${t("dialog.close")} onClick=${onClose}>
        <${Icon} name="close" />
      </button>
    </header>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}

/** @param {HTMLDialogElement | null} dialog @returns {HTMLElement | null | undefined} */
const firstToFocus = (dialog) =>
  dialog?.querySelector("[autofocus]") ??
  dialog?.querySelector(".dialog-body :is(input:not([type=radio]), textarea, select)") ??
  dialog;

/** @param {HTMLElement} element @param {MouseEvent} event */
function within(element, event) {
  const box = element.getBoundingClientRect();
  return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
}
