/** Views whose modules are loaded when they are first shown, or before, while the page is idle. */
import { t } from "../t.mjs";
import { html, signal, useEffect, useLayoutEffect } from "../vendor/ui.mjs";
import { Notice } from "./notice.mjs";

/** Waits that the browser may use for the next view. */
const IDLE = { timeout: 10_000 };

/** Milliseconds after which a module that neither comes nor fails is reported. */
const SLOW_MS = 20_000;

/** @type {(() => Promise<void>)[]} loaders of the views that idle pages load */
const loaders = [];

/**
 * Returns a component that loads another one, and then draws that with the same properties.
 *
 * Until it is there it says so, unless it is `silent`; if it cannot be loaded it offers to try again, and if it does
 * not come it offers to reload the page, as a browser requests a module only once.
 *
 * @param {() => Promise<any>} load  returns the component
 * @param {{over?: boolean, frame?: any, silent?: boolean, idle?: boolean}} [options]  `over`: it stands over
 *   the page, such as a dialog; `frame`: a component with what is around it meanwhile; `idle`: idle pages
 *   load it (the default)
 * @returns {((props: Record<string, any>) => any) & {load: () => Promise<void>}}  `load` never rejects, and ends also
 *   if the module does not come
 */
export function laterView(load, { over = false, frame = null, silent = false, idle = true } = {}) {
  const state = signal(/** @type {{view?: any, failed?: boolean, slow?: boolean}} */ ({}));
  /** @type {Promise<void> | null} */
  let coming = null;
  const begin = () => {
    if (state.value.failed) state.value = {};
    coming ??= new Promise((resolve) => {
      const end = (/** @type {typeof state.value} */ now) => {
        clearTimeout(timer);
        state.value = now;
        resolve();
      };
      const timer = setTimeout(() => end({ slow: true }), SLOW_MS);
      load().then(
        (view) => end({ view }),
        () => {
          coming = null;
          end({ failed: true });
        },
      );
    });
    return coming;
  };
  if (idle) loaders.push(begin);
  const Later = (/** @type {Record<string, any>} */ props) => {
    const { view, failed, slow } = state.value;
    useEffect(() => {
      if (!view) void begin();
    }, []);
    // Before the next key is heard: Esc is for this view already, not for an answer that runs behind it.
    useLayoutEffect(() => (over && !view && props.onClose ? listenForEscape(props.onClose) : undefined), [view]);
    if (view) return html`<${view} ...${props} />`;
    if (silent && !failed && !slow) return null;
    const sign = failed || slow
      ? html`<${LoadFailed} over=${over} onRetry=${failed && begin} onClose=${props.onClose} />`
      : html`<p class=${over ? "waiting muted later-over" : "waiting muted"} role="status"><span class="spinner" aria-hidden="true"></span>${t("common.loading")}</p>`;
    return frame ? html`<${frame} failed=${failed || slow}>${sign}<//>` : sign;
  };
  return Object.assign(Later, { load: begin });
}

/** Calls `onEscape` instead of everything else that Esc does. Returns a function that ends this. @param {() => void} onEscape */
function listenForEscape(onEscape) {
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    onEscape();
  };
  document.addEventListener("keydown", pressed, { capture: true });
  return () => document.removeEventListener("keydown", pressed, { capture: true });
}

/** @param {{over: boolean, onRetry?: () => void, onClose?: () => void}} props  without `onRetry` it does not come */
function LoadFailed({ over, onRetry, onClose }) {
  return html`<${Notice} bad role="alert" className=${over ? "later-over" : ""} text=${t(onRetry ? "later.failed" : "later.slow")} hint=${t("later.failed_hint")}>
    ${onRetry && html`<button type="button" class="button small" onClick=${onRetry}>${t("common.retry")}</button>`}
    <button type="button" class="button small quiet" onClick=${() => window.location.reload()}>${t("failed.again")}</button>
    ${onClose && html`<button type="button" class="button small quiet" onClick=${onClose}>${t("common.close")}</button>`}
  <//>`;
}

/** Loads the views one after the other while the page is idle, unless the person saves data. */
export async function loadWhenIdle() {
  const { connection } = /** @type {any} */ (navigator);
  if (connection?.saveData) return;
  for (const load of loaders) {
    await new Promise((resolve) => ("requestIdleCallback" in window ? requestIdleCallback(resolve, IDLE) : setTimeout(resolve, 200)));
    await load();
  }
}
