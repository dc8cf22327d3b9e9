/**
 * News between the tabs of one browser, so that none has to ask the server.
 *
 * @module
 */

/** @typedef {{thread: string}} News  something began or ended in this thread */

const channel = globalThis.BroadcastChannel && typeof document !== "undefined" ? new BroadcastChannel("antiphon") : null;

/** Tells the other tabs. @param {News} news */
export const notifyTabs = (news) => channel?.postMessage(news);

/** Hears what other tabs tell from now on. @param {(news: News) => void} take */
export const onTabNews = (take) => channel?.addEventListener("message", ({ data }) => take(data));
