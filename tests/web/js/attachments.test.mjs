import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_FILES, createAttachments, readableType, readyFiles, refusal } from "../../../src/antiphon/web/static/chat/attachments.mjs";

const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);

test("a file is what models can read of it", () => {
  assert.equal(readableType("image/png", new Uint8Array([137, 80, 0])), "image/png");
  assert.equal(readableType("application/pdf", new Uint8Array([0])), "application/pdf");
  assert.equal(readableType("text/csv", bytes("a;b")), "text/csv");
  assert.equal(readableType("video/mp2t", bytes("const a: number = 1;")), "text/plain");
  assert.equal(readableType("", bytes("# Notes")), "text/plain");
  assert.equal(readableType("image/svg+xml", bytes("<svg/>")), "text/plain");
});

test("a file that no model can read has no type", () => {
  assert.equal(readableType("application/zip", new Uint8Array([80, 75, 3, 4, 0])), null);
  assert.equal(readableType("text/plain", new Uint8Array([0xff, 0xfe, 65])), null);
});

test("a character that is cut in two at the end of the inspected bytes is no fault", () => {
  assert.equal(readableType("", bytes("é").slice(0, 1)), "text/plain");
});

test("files that are too large, empty or too many are refused", () => {
  const limits = { upload_bytes: 10 };

  assert.equal(refusal({ name: "a", size: 11 }, limits, 0)?.key, "attach.too_large");
  assert.equal(refusal({ name: "a", size: 0 }, limits, 0)?.key, "attach.empty");
  assert.equal(refusal({ name: "a", size: 1 }, limits, MAX_FILES)?.key, "attach.too_many");
  assert.equal(refusal({ name: "a", size: 10 }, limits, 0), null);
});

/** Return a list of files, and uploads that end when the test decides. */
function openAttachments() {
  const items = { value: /** @type {any[]} */ ([]) };
  /** @type {{file: File, options: any, resolve: (file: any) => void, reject: (error: Error) => void}[]} */
  const uploads = [];
  /** @type {((upload: any) => void)[]} */
  const waiting = [];
  const upload = (/** @type {File} */ file, /** @type {any} */ options) =>
    new Promise((resolve, reject) => {
      const pending = { file, options, resolve, reject };
      uploads.push(pending);
      waiting.shift()?.(pending);
    });
  const nextUpload = () => new Promise((resolve) => waiting.push(resolve));
  const files = createAttachments({ items, limits: () => ({ upload_bytes: 100 }), upload: /** @type {any} */ (upload), say: ({ key }) => key });
  return { items, uploads, nextUpload, ...files };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a file is uploaded, and shows its progress", async () => {
  const { items, add, nextUpload } = openAttachments();
  const started = nextUpload();

  add([new File(["words"], "a.txt", { type: "text/plain" })]);
  const { options, resolve } = await started;
  options.onProgress(0.5);
  assert.equal(items.value[0].progress, 0.5);
  assert.deepEqual(readyFiles(items.value), []);
  resolve({ id: "file_1", name: "a.txt", media_type: "text/plain", size: 5 });
  await settle();

  assert.deepEqual(readyFiles(items.value), [{ id: "file_1", name: "a.txt", type: "text/plain", size: 5 }]);
});

test("an upload that failed keeps its place and can be tried again", async () => {
  const { items, add, nextUpload, retry } = openAttachments();
  const first = nextUpload();
  add([new File(["words"], "a.txt", { type: "text/plain" })]);
  (await first).reject(new Error("The server could not be reached."));
  await settle();
  assert.deepEqual([items.value[0].state, items.value[0].problem], ["failed", "The server could not be reached."]);

  const second = nextUpload();
  retry(items.value[0].key);
  (await second).resolve({ id: "file_1", name: "a.txt", media_type: "text/plain", size: 5 });
  await settle();

  assert.equal(items.value[0].state, "ready");
});

test("a refused file is not uploaded and says why", async () => {
  const { items, uploads, add } = openAttachments();

  add([new File(["x".repeat(101)], "long.txt"), new File([new Uint8Array([80, 75, 0])], "a.zip")]);
  await settle();
  await settle();

  assert.deepEqual(items.value.map((item) => item.problem), ["attach.too_large", "attach.unreadable"]);
  assert.deepEqual(uploads, []);
});

test("the upload of a removed file is aborted", async () => {
  const { items, add, nextUpload, remove } = openAttachments();
  const started = nextUpload();
  add([new File(["words"], "a.txt", { type: "text/plain" })]);
  const { options } = await started;

  remove(items.value[0].key);

  assert.equal(options.signal.aborted, true);
  assert.deepEqual(items.value, []);
});
