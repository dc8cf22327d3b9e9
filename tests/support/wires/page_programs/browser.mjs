// Adds to a page in Node what a browser would: the answer of its backend's `/token`, and `Origin`.

export function openPage({ server, origin, token }) {
  const requests = [];
  const originalFetch = globalThis.fetch;
  globalThis.fetch = async (url, options = {}) => {
    if (url === "/token") return Response.json(token);
    requests.push(options.body ? JSON.parse(options.body) : {});
    const target = String(url).replace("http://127.0.0.1:8000", server);
    const headers = { ...Object.fromEntries(new Headers(options.headers)), origin };
    return originalFetch(target, { ...options, headers });
  };
  return { asked: requests, close: () => (globalThis.fetch = originalFetch) };
}
