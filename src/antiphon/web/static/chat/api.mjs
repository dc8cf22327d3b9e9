/**
 * Requests to the server: JSON both ways, errors as `Problem`s.
 *
 * @module
 */

import { problemWords } from "./problems.mjs";
import { away, me, signedOut } from "./store.mjs";

/** Statuses after which the same request may succeed later. */
const PASSING = new Set([0, 408, 425, 429, 502, 503, 504]);

/** Statuses with which a proxy reports an unreachable server. */
const GATEWAY = new Set([502, 504]);

/** Timeout of a ping in milliseconds. */
const PING_MS = 2000;

/**
 * Error response of the server, or that it is unreachable (`status` 0, `code` "offline").
 *
 * `message` is for the user, in their language; `fatal` is true if a retry cannot succeed.
 */
export class Problem extends Error {
  /** @param {{status: number, code: string, title: string, detail?: string, hint?: string, retryAfter?: number, login?: string, site?: string}} what */
  constructor({ status, code, title, detail, hint, retryAfter, login, site }) {
    super(problemWords(code, [detail ?? title, hint].filter(Boolean).map(sentence).join(" ")));
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.hint = hint;
    this.retryAfter = retryAfter;
    this.login = login;
    this.site = site;
    this.fatal = !PASSING.has(status);
  }
}

/**
 * @param {string} path
 * @param {{query?: Record<string, string | number | null | undefined>, signal?: AbortSignal}} [options]
 */
export const get = (path, { query = {}, signal } = {}) => sendRequest(withQuery(path, query), { signal });

/** @param {string} path @param {unknown} [body] @param {RequestInit} [init] */
export const post = (path, body = {}, init = {}) => sendRequest(path, { ...jsonInit("POST", body), ...init });

/**
 * Returns the response itself, for streaming.
 *
 * @param {string} path @param {unknown} body @param {AbortSignal} [signal] @returns {Promise<Response>}
 */
export const postForStream = (path, body, signal) => withRenewal(() => fetchOk(path, { ...jsonInit("POST", body), signal }));

/**
 * Returns the bytes that answer.
 *
 * @param {string} path @param {unknown} body @param {AbortSignal} signal @returns {Promise<Blob>}
 */
export const postForBlob = (path, body, signal) => postForStream(path, body, signal).then((response) => response.blob());

/** @param {string} path @param {unknown} body @param {RequestInit} [init] */
export const patch = (path, body, init = {}) => sendRequest(path, { ...jsonInit("PATCH", body), ...init });

/** @param {string} path @param {unknown} body */
export const put = (path, body) => sendRequest(path, jsonInit("PUT", body));

/** @param {string} path @param {RequestInit} [init] */
export const remove = (path, init = {}) => sendRequest(path, { ...jsonInit("DELETE", {}), ...init });

/**
 * Returns the response itself, for streaming. Rejects with a `Problem` if it is an error.
 *
 * @param {string} path @param {RequestInit} [init] @returns {Promise<Response>}
 */
export async function fetchOk(path, init = {}) {
  const response = await fetchOrThrow(path, init);
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Returns the init of a request with a JSON body. @param {string} method @param {unknown} body @returns {RequestInit} */
export const jsonInit = (method, body) => ({
  method,
  headers: { "content-type": "application/json", ...csrfHeaders() },
  body: JSON.stringify(body),
});

/**
 * Uploads a file, and reports its progress from 0 to 1.
 *
 * @param {File} file
 * @param {{onProgress?: (fraction: number) => void, signal?: AbortSignal}} [options]
 * @returns {Promise<{id: string, name: string, media_type: string, size: number}>}
 */
export const upload = (file, options = {}) => withRenewal(() => sendFile(file, options));

/** @param {File} file @param {{onProgress?: (fraction: number) => void, signal?: AbortSignal}} options @returns {Promise<any>} */
function sendFile(file, { onProgress, signal }) {
  // `fetch` does not report upload progress.
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress?.(total ? loaded / total : 0));
    request.addEventListener("load", () => {
      const response = new Response(request.responseText || null, { status: request.status });
      if (response.ok) resolve(response.json());
      else refusal(response).then(reject, reject);
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", () => reject(new DOMException("The upload was given up.", "AbortError")));
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", "/api/files");
    for (const [name, value] of Object.entries(csrfHeaders())) request.setRequestHeader(name, value);
    request.send(form);
  });
}

/** Returns the CSRF token's header. */
const csrfHeaders = () => (me.value?.csrf ? { "x-antiphon-csrf": me.value.csrf } : {});

/** @param {string} path @param {RequestInit} init */
async function sendRequest(path, init) {
  const response = await (init.body
    ? withRenewal(() => fetchOk(path, { ...init, headers: { ...init.headers, ...csrfHeaders() } }))
    : fetchOk(path, init));
  return response.status === 204 ? null : readJson(response);
}

/** Returns the body of a response. The connection may end within it. @param {Response} response */
async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    away.value = true;
    throw unreachable();
  }
}

/**
 * Sends a change, and once more if it did not carry the token of the session: another tab has renewed
 * it, or this page does not know it yet.
 *
 * @template T @param {() => Promise<T>} send @returns {Promise<T>}
 */
async function withRenewal(send) {
  const token = me.value?.csrf;
  try {
    return await send();
  } catch (/** @type {any} */ problem) {
    if (problem.status !== 403 || !(await renewSession(token))) throw problem;
    return send();
  }
}

/**
 * Returns true if the session has another token than this one, and uses it from now on.
 *
 * @param {string | undefined} token
 */
async function renewSession(token) {
  return (await renewMe()).csrf !== token;
}

/** Reads again what `me` holds. If another user has logged in there, the page reloads, and nothing is sent for them. */
export async function renewMe() {
  const found = await get("/api/me");
  if (me.value && found.person?.id !== me.value.person?.id) {
    location.reload();
    throw new Problem({ status: 401, code: "unauthorized", title: "Another person is logged in now." });
  }
  me.value = found;
  return found;
}

/** @param {string} path @param {RequestInit} init */
async function fetchOrThrow(path, init) {
  try {
    const response = await fetch(path, { credentials: "same-origin", ...init });
    away.value = GATEWAY.has(response.status);
    return response;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    away.value = true;
    throw unreachable();
  }
}

/** Names of errors of a request that was not answered, or not to its end; the first is Chromium's of a limit that ends within the body. */
const NO_ANSWER = new Set(["AbortError", "Problem", "TimeoutError", "TypeError"]);

/** Checks if the server is reachable, and sets `away`. */
export async function ping() {
  try {
    const response = await fetchOrThrow("/healthz", { signal: AbortSignal.timeout(PING_MS) });
    // Unread, the browser holds the request open until its limit. A proxy may answer, without JSON.
    await response.arrayBuffer();
  } catch (/** @type {any} */ error) {
    if (!NO_ANSWER.has(error.name)) throw error;
    away.value = true;
  }
}

/** Returns the text with a full stop at its end. @param {string | undefined} said */
const sentence = (said) => (/[.!?:…]$/.test(said ?? "") ? said : `${said}.`);

const unreachable = () => new Problem({ status: 0, code: "offline", title: "The server could not be reached." });

/** @param {Response} response */
async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const after = Number(response.headers.get("retry-after"));
  if (response.status === 401 && said.code === "unauthorized") signedOut.value = true;
  return new Problem({
    status: response.status,
    code: said.code ?? "unknown",
    title: said.title ?? `The server said ${response.status}.`,
    detail: said.detail,
    hint: said.hint,
    login: said.login,
    site: said.site,
    retryAfter: after > 0 ? after : undefined,
  });
}

/** @param {string} path @param {Record<string, string | number | null | undefined>} query */
function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const written = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return written ? `${path}?${written}` : path;
}
