/**
 * Navigation between the page's views without a reload.
 *
 * @module
 */

import { BESIDE, current, leavingTo, path } from "./store.mjs";

export { path };

/**
 * Opens an address. If that leaves a temporary chat, the user is asked first, unless it is `sure`.
 *
 * @param {string} to @param {{replace?: boolean, sure?: boolean}} [how]
 */
export function navigate(to, { replace = false, sure = false } = {}) {
  if (to === location.pathname) return;
  if (!sure && leavesTemporaryChat(to)) {
    leavingTo.value = to;
    return;
  }
  history[replace ? "replaceState" : "pushState"](null, "", to);
  path.value = to;
}

/** Starts to follow the browser's back and forward buttons. */
export function followHistory() {
  path.value = location.pathname;
  window.addEventListener("popstate", () => {
    const to = location.pathname;
    if (leavesTemporaryChat(to)) {
      history.pushState(null, "", path.value);
      leavingTo.value = to;
    } else path.value = to;
  });
}

const THREADS = /^\/(?:t\/([\w-]+)|c\/([\w-]+)\/([\w-]+))$/;

/** The thread that an address opens, or null. @param {string} address */
export const threadOf = (address) => {
  const [, alone, first] = THREADS.exec(address) ?? [];
  return alone ?? first ?? null;
};

/** The thread that an address opens beside it, or null. @param {string} address */
export const besideOf = (address) => THREADS.exec(address)?.[3] ?? null;

/** Returns true if another chat is at this address than the temporary one that is open. @param {string} address */
function leavesTemporaryChat(address) {
  const open = current.value;
  if (!open?.thread.temporary) return false;
  const thread = threadOf(address);
  const own = [open.thread.id, BESIDE.current.value?.thread.id, ...open.branches.flatMap(({ at }) => at)];
  return address === "/" || (thread !== null && !own.includes(thread));
}
