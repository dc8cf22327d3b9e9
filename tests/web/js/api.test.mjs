/** Requests of the page to its server. */

import assert from "node:assert/strict";
import test from "node:test";

const { get, ping } = await import("../../../src/antiphon/web/static/chat/api.mjs");
const { away } = await import("../../../src/antiphon/web/static/chat/store.mjs");

test("a connection that ends within an answer is a problem, like one that cannot be made", async (context) => {
  const body = new ReadableStream({
    pull(controller) {
      controller.error(new TypeError("network error"));
    },
  });
  context.mock.method(globalThis, "fetch", async () => new Response(body));

  await assert.rejects(get("/api/me"), { name: "Problem", code: "offline" });
  assert.equal(away.value, true);
});

test("a ping whose time ends within the answer finds the server away, without an error", async (context) => {
  const body = new ReadableStream({
    pull(controller) {
      controller.error(new DOMException("The user aborted a request.", "AbortError"));
    },
  });
  context.mock.method(globalThis, "fetch", async () => new Response(body));
  away.value = false;

  await ping();

  assert.equal(away.value, true);
});
