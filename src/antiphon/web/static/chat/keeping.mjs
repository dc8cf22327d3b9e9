/**
 * What outlives the page, in the browser's own store: preferences, drafts, and what is to be sent.
 *
 * A browser may refuse (private windows, no room): then the page works, and only forgets.
 *
 * @module
 */

/** What was kept under this name, or null. @param {string} name @returns {any} */
export function readStored(name) {
  try {
    return JSON.parse(globalThis.localStorage?.getItem(name) ?? "null");
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return null;
    throw error;
  }
}

/** Keeps it; null forgets it. @param {string} name @param {any} value */
export function writeStored(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** Names of all that is kept and begins so. @param {string} prefix @returns {string[]} */
export function storedNames(prefix) {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  } catch (error) {
    if (error instanceof DOMException) return [];
    throw error;
  }
}
