// What a browser adds to a page in Node: the address of its backend's `/token`, and its `Origin`.

export function openPage({ server, origin, token }) {
  const asked = [];
  const real = globalThis.fetch;
  globalThis.fetch = async (url, options = {}) => {
    if (url === "/token") return Response.json(token);
    asked.push(options.body ? JSON.parse(options.body) : {});
    const there = String(url).replace("http://127.0.0.1:8000", server);
    const headers = { ...Object.fromEntries(new Headers(options.headers)), origin };
    return real(there, { ...options, headers });
  };
  return { asked, close: () => (globalThis.fetch = real) };
}
