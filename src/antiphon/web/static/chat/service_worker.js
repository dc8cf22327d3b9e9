/**
 * Service worker: the page opens without the server. The server writes `VERSION` and `FILES` above.
 *
 * It keeps the shell, which holds no data, and files whose addresses hold the digest of their version,
 * so that no page gets files of two versions. Whatever else is requested it does not touch: answers of
 * the API are never kept.
 */

const SHELL = "/";
const STATIC = "/static/";
const NO_PAGES = ["/api/", STATIC];
const PREFIX = "antiphon ";
const CACHE = `${PREFIX}${VERSION}`;

/** Statuses with which a proxy reports that there is no server. */
const GATEWAY = [502, 504];

/** Versions that are kept: this one, and the one that open pages may have. */
const KEPT = 2;

self.addEventListener("install", (event) => event.waitUntil(keepFiles()));
self.addEventListener("activate", (event) => event.waitUntil(dropOldVersions()));
self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin) return;
  if (event.request.mode === "navigate" && !NO_PAGES.some((prefix) => pathname.startsWith(prefix))) {
    event.respondWith(openPage(event.request));
  } else if (pathname.startsWith(STATIC)) {
    event.respondWith(getFile(event.request, pathname));
  }
});

/** Keeps the shell and its files. Rejects if the server has another version by now: then its worker comes. */
async function keepFiles() {
  const shell = await fetch(SHELL, { cache: "no-cache" });
  const text = await shell.clone().text();
  if (!shell.ok || shell.redirected || !text.includes(`${STATIC}${VERSION}/`)) {
    throw new Error(`The shell of version ${VERSION} was wanted; the server has another one.`);
  }
  try {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES);
    await cache.put(SHELL, shell);
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
  await self.skipWaiting();
}

async function dropOldVersions() {
  const ours = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(ours.slice(0, Math.max(0, ours.length - (KEPT - 1))).map((name) => caches.delete(name)));
}

/** The page from the server; without one, the shell. */
async function openPage(request) {
  try {
    const page = await fetch(request);
    if (!GATEWAY.includes(page.status)) return page;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  const cache = await caches.open(CACHE);
  return (await cache.match(SHELL)) ?? Response.error();
}

/** A file of the page; its address holds its version. */
async function getFile(request, pathname) {
  const kept = await caches.match(request.url, { ignoreVary: true });
  if (kept) return kept;
  const file = await fetch(request);
  if (file.ok && pathname.startsWith(`${STATIC}${VERSION}/`)) {
    const cache = await caches.open(CACHE);
    await cache.put(request.url, file.clone());
  }
  return file;
}
