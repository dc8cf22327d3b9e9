/**
 * Navigation between the page's views without a reload.
 *
 * @module
 */

import { path } from "./store.mjs";

export { path };

/** @param {string} to @param {{replace?: boolean}} [how] */
export function navigate(to, { replace = false } = {}) {
  if (to === location.pathname) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  path.value = to;
}

/** Starts to follow the browser's back and forward buttons. */
export function followHistory() {
  path.value = location.pathname;
  window.addEventListener("popstate", () => (path.value = location.pathname));
}

/** The thread that an address opens, or null. @param {string} address */
export const threadOf = (address) => /^\/t\/([A-Za-z0-9_-]+)$/.exec(address)?.[1] ?? null;
