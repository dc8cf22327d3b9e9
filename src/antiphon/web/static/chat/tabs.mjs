/**
 * Messages between the tabs of one browser.
 *
 * @module
 */

/** @typedef {{thread: string}} News  something began or ended in this thread */

const channel = globalThis.BroadcastChannel && typeof document !== "undefined" ? new BroadcastChannel("antiphon") : null;

/** Notifies the other tabs. @param {News} news */
export const notifyTabs = (news) => channel?.postMessage(news);

/** Registers a handler for news of other tabs. @param {(news: News) => void} take */
export const onTabNews = (take) => channel?.addEventListener("message", ({ data }) => take(data));
