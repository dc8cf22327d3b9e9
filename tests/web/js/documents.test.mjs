import assert from "node:assert/strict";
import { test } from "node:test";

import { createAttachments, readableType } from "../../../src/antiphon/web/static/chat/attachments.mjs";
import { cutAtHighlights, sourcesOf } from "../../../src/antiphon/web/static/chat/documents.mjs";

const call = (/** @type {string} */ toolName, /** @type {any} */ input, /** @type {any} */ output, more = {}) => ({
  toolName,
  input,
  output: JSON.stringify(output),
  state: "output-available",
  ...more,
});
const result = (/** @type {number} */ page, file = "rules.pdf") => ({ source: `file_1a#${page}`, file, page, snippet: "x" });

test("the sources of an answer are the pages that were read, else the first that were found", () => {
  const search = call("search_documents", { query: "vacation" }, { results: [1, 2, 3, 4].map((page) => result(page)) });
  const read = call("read_document", { file: "rules.pdf", page: 9 }, { ...result(9), text: "x" });

  assert.deepEqual(
    sourcesOf([search]).map(({ page }) => page),
    [1, 2, 3],
  );
  assert.deepEqual(sourcesOf([search, read, read]), [{ id: "file_1a", file: "rules.pdf", page: 9, query: "vacation" }]);
});

test("an output that is no result of these tools is no source", () => {
  const odd = [
    call("other", {}, result(1)),
    call("read_document", {}, result(1), { state: "output-error" }),
    call("read_document", {}, { source: "../../admin#1", file: "a", page: 1 }),
    call("read_document", {}, { source: "file_1#1", file: "a", page: "1" }),
    call("search_documents", {}, { results: "none" }),
    call("search_documents", {}, null),
    { ...call("read_document", {}, {}), output: "no JSON" },
    { type: "text", text: "file_1#1" },
  ];
  assert.deepEqual(sourcesOf(odd), []);
});

test("a text is cut at its highlights, which count characters and not halves of them", () => {
  assert.deepEqual(cutAtHighlights("🙂 days off", [[2, 6]]), [
    { text: "🙂 ", isFound: false },
    { text: "days", isFound: true },
    { text: " off", isFound: false },
  ]);
  assert.deepEqual(cutAtHighlights("", []), []);
});

test("documents of Office may be attached, whatever the browser calls them", () => {
  const zip = new Uint8Array([80, 75, 3, 4, 0]);
  assert.equal(readableType("", zip, "Rules.DOCX"), "application/octet-stream");
  assert.equal(readableType("application/epub+zip", zip, "book.epub"), "application/epub+zip");
  assert.equal(readableType("application/zip", zip, "files.zip"), null);
});

test("a file says that its text is read, and then how many pages it has", async () => {
  const items = { value: /** @type {any[]} */ ([]) };
  const states = [{ status: "pending" }, { status: "ready", pages: 3 }];
  /** @type {(value?: unknown) => void} */
  let finish = () => {};
  const done = new Promise((resolve) => (finish = resolve));
  const files = createAttachments({
    items,
    limits: () => ({}),
    say: ({ key }) => key,
    upload: async (file) => ({ id: "file_1", name: file.name, media_type: "text/plain", size: 1, document: { status: "pending" } }),
    pause: async () => {},
    readState: async () => {
      const document = /** @type {any} */ (states.shift());
      if (states.length === 0) setTimeout(finish);
      return { document };
    },
  });
  files.add([new File(["a"], "a.txt", { type: "text/plain" })]);
  await done;
  assert.deepEqual(items.value[0].document, { status: "ready", pages: 3 });
});
