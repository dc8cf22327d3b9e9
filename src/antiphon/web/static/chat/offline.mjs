/**
 * The worker that keeps the page's own files in the browser, so that the page opens without the server.
 *
 * @module
 */

const WORKER = "/service-worker.js";
const PREFIX = "antiphon ";

/** Trusted Types admit the address of this worker, and none else. */
const policy = globalThis.trustedTypes?.createPolicy("antiphon-worker", { createScriptURL: () => WORKER });

const hasWorkers = () => Boolean(globalThis.isSecureContext) && "serviceWorker" in navigator;

let begun = false;

/** Starts the worker, once, where there may be one: on https, or on this machine. */
export async function keepPage() {
  if (begun || !hasWorkers()) return;
  begun = true;
  try {
    await navigator.serviceWorker.register(policy ? policy.createScriptURL("") : WORKER);
  } catch {
    // A private window, or a browser that is told to keep nothing: the page works without it.
  }
}

/** Ends the worker and drops the files that it has kept. */
export async function forgetPage() {
  if (!hasWorkers()) return;
  const registration = await navigator.serviceWorker.getRegistration();
  await registration?.unregister();
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX)).map((name) => caches.delete(name)));
}
