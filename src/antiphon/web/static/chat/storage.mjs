/**
 * Local storage: preferences, drafts, and unsent messages.
 *
 * If the browser refuses (private window, quota), the page works without it.
 *
 * @module
 */

/** Returns the value stored under this name, or null. @param {string} name @returns {any} */
export function readStored(name) {
  try {
    return JSON.parse(globalThis.localStorage?.getItem(name) ?? "null");
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return null;
    throw error;
  }
}

/** Stores a value; null removes it. Returns false if the browser refuses. @param {string} name @param {any} value */
export function writeStored(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return false;
  }
}

/** Returns the stored names with this prefix. @param {string} prefix @returns {string[]} */
export function storedNames(prefix) {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  } catch (error) {
    if (error instanceof DOMException) return [];
    throw error;
  }
}
