/** Modal dialog. */
import { html, useId, useLayoutEffect, useRef } from "../vendor/ui.mjs";
import { t } from "../t.mjs";
import { Icon } from "./icons.mjs";

/** Focusable elements. */
const STOPS = ":is(a[href], button, input, select, textarea, summary, [tabindex='0']):not(:disabled, [tabindex='-1'])";

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

  // Before the next key is heard: it may be for the dialog already.
  useLayoutEffect(() => {
    const opened = dialog.current;
    const before = document.activeElement;
    opened?.showModal();
    firstToFocus(opened)?.focus();
    return () => {
      opened?.close();
      if (before instanceof HTMLElement && before.isConnected) giveFocusBack(before);
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
    if (event.key === "Tab") goRound(dialog.current, event);
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

/**
 * Chromium may give a field the focus without its cursor, if the field of another dialog had it last: then keys write
 * nothing.
 *
 * @param {HTMLElement} element
 */
function giveFocusBack(element) {
  element.focus({ preventScroll: true });
  if (element instanceof HTMLTextAreaElement) element.setSelectionRange(element.selectionStart, element.selectionEnd);
}

/** From the last element Tab goes to the first, not out to the browser. @param {HTMLElement | null} dialog @param {KeyboardEvent} event */
function goRound(dialog, event) {
  const stops = [...(dialog?.querySelectorAll(STOPS) ?? [])].filter((each) => each.checkVisibility());
  const [from, to] = event.shiftKey ? [stops.at(0), stops.at(-1)] : [stops.at(-1), stops.at(0)];
  if (document.activeElement !== from && !(event.shiftKey && document.activeElement === dialog)) return;
  event.preventDefault();
  if (to instanceof HTMLElement) to.focus();
}

/** @param {HTMLElement} element @param {MouseEvent} event */
function within(element, event) {
  const box = element.getBoundingClientRect();
  return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
}
