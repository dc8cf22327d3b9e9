/** Toasts: short notices, some with one action. */
import { html, useEffect, useRef } from "../vendor/ui.mjs";
import { toasts } from "../store.mjs";
import { t } from "../t.mjs";
import { Icon } from "./icons.mjs";

const SECONDS = 6;

/**
 * @typedef {{text: string, action?: {label: string, run: () => void}, bad?: boolean, seconds?: number}} News
 */

/** Shows this for some seconds; gives its number. What stands there already is not said twice. */
export function toast(/** @type {News} */ news) {
  const same = toasts.value.find((/** @type {News} */ one) => one.bad && one.text === news.text);
  if (same) return same.id;
  const id = Math.max(0, ...toasts.value.map((/** @type {{id: number}} */ one) => one.id)) + 1;
  toasts.value = [...toasts.value, { ...news, id }];
  return id;
}

/**
 * Runs work and shows its error as a toast. Returns its result, or `true`, on success, `undefined` on
 * failure. With `unasked` an unreachable server is not reported.
 *
 * @param {() => Promise<any>} work
 * @param {{unasked?: boolean}} [how]
 */
export async function runAndReport(work, { unasked = false } = {}) {
  try {
    return (await work()) ?? true;
  } catch (problem) {
    const known = problem?.status === 401 || (unasked && problem?.fatal === false);
    if (!known) toast({ text: sentence(problem), bad: true, seconds: 10 });
    return undefined;
  }
}

/** Returns the text of a problem: what it is, and what to do. */
export function sentence(/** @type {any} */ problem) {
  return problem?.code && problem.message ? problem.message : t("problem.unknown");
}

export function Toasts() {
  const shelf = useRef(/** @type {any} */ (null));
  const count = toasts.value.length;
  useEffect(() => {
    // Shown again with each toast, so that a later dialog does not cover them.
    shelf.current.hidePopover();
    if (count > 0) shelf.current.showPopover();
  }, [count]);
  return html`<div class="toasts" role="status" aria-live="polite" popover="manual" ref=${shelf}>
    ${toasts.value.map((/** @type {any} */ news) => html`<${Toast} key=${news.id} ...${news} />`)}
  </div>`;
}

function Toast(/** @type {News & {id: number}} */ { id, text, action, bad, seconds = SECONDS }) {
  const held = useRef(false);
  const close = () => {
    toasts.value = toasts.value.filter((/** @type {{id: number}} */ one) => one.id !== id);
  };
  useEffect(() => {
    const end = Date.now() + seconds * 1000;
    // Looked at again and again, for what a person points at or has the focus in must not go.
    const beat = setInterval(() => Date.now() >= end && !held.current && close(), 250);
    return () => clearInterval(beat);
  }, []);
  const hold = (/** @type {boolean} */ is) => () => {
    held.current = is;
  };
  const act = () => {
    close();
    action?.run();
  };
  return html`<div
    class=${bad ? "toast bad" : "toast"} onMouseEnter=${hold(true)} onMouseLeave=${hold(false)}
    onFocusIn=${hold(true)} onFocusOut=${hold(false)}
  >
    <span class="grow">${text}</span>
    ${action && html`<button type="button" class="button small" onClick=${act}>${action.label}</button>`}
    <button type="button" class="icon-button" aria-label=${t("common.close")} onClick=${close}><${Icon} name="close" size=${16} /></button>
  </div>`;
}
