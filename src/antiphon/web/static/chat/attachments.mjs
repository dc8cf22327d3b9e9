/**
 * Attachments of a message: checked, uploaded, and kept until it is sent.
 *
 * @typedef {object} Attachment
 * @property {string} key
 * @property {string} name
 * @property {number} size  bytes
 * @property {string} type
 * @property {"uploading" | "ready" | "failed"} state
 * @property {number} progress  0 to 1
 * @property {string} [id]  once it is uploaded
 * @property {string} [problem]  why it failed, for people
 * @property {boolean} [refused]  it was not even tried, and will not be
 * @property {string} [preview]  address of the picture, in this browser
 * @property {File} [file]
 * @property {import("./documents.mjs").DocumentState} [document]  how far its text is read
 *
 * @typedef {{upload_bytes?: number}} Limits
 * @typedef {(file: File, options: {onProgress: (fraction: number) => void, signal: AbortSignal}) => Promise<{id: string, name: string, media_type: string, size: number, document?: import("./documents.mjs").DocumentState}>} Upload
 * @typedef {(id: string) => Promise<{document: import("./documents.mjs").DocumentState | null}>} ReadState
 * @typedef {{key: string, values?: Record<string, string | number>}} Refusal
 */

/** Image types that every browser shows and that hold no scripts. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

/** Endings of documents whose text the server reads. */
const DOCUMENTS = /\.(?:pdf|docx|docm|xlsx|xlsm|pptx|pptm|epub)$/i;

/** Milliseconds between two questions whether a text is read. */
export const POLL_MS = 1000;

/** Bytes that are read to detect text. */
const PROBE_BYTES = 4096;

/** Files of one message. */
export const MAX_FILES = 20;

/**
 * Returns the file's type if models can read it, `text/plain` for text whatever the browser's guess
 * (TypeScript is guessed to be video), null for anything else.
 *
 * @param {string} type as the browser says
 * @param {Uint8Array} beginning
 * @param {string} [name]
 * @returns {string | null}
 */
export function readableType(type, beginning, name = "") {
  if (PICTURES.has(type) || type === "application/pdf") return type;
  if (DOCUMENTS.test(name)) return type || "application/octet-stream";
  if (!isText(beginning)) return null;
  return /^text\/|^application\/(json|xml)$/.test(type) ? type : "text/plain";
}

/** Returns the reason to refuse a file unread; null if there is none. @param {{name: string, size: number}} file @param {Limits} limits @param {number} already */
export function refusal({ size }, limits, already) {
  if (already >= MAX_FILES) return { key: "attach.too_many", values: { most: MAX_FILES } };
  if (size === 0) return { key: "attach.empty" };
  if (limits.upload_bytes && size > limits.upload_bytes) return { key: "attach.too_large" };
  return null;
}

/** Returns true if a browser can show this type as an image. @param {string} type */
export const isPicture = (type) => PICTURES.has(type);

/** Returns the uploaded files in the form that messages and drafts use. @param {readonly Attachment[]} items */
export const readyFiles = (items) =>
  items.flatMap(({ id, name, type, size, document }) => (id ? [{ id, name, type, size, ...(document && { document }) }] : []));

/**
 * Creates the attachments of one message, whose list is the signal `items`. `say` returns the text of
 * a refusal.
 *
 * @param {{items: {value: Attachment[]}, limits: () => Limits, upload: Upload, say: (refusal: Refusal) => string, readState?: ReadState, pause?: () => Promise<void>}} with_
 */
export function createAttachments({ items, limits, upload, say, readState, pause = wait }) {
  /** @type {Map<string, AbortController>} */
  const going = new Map();
  /** Keys of the files whose reading is followed, or was. */
  const followed = new Set();

  const change = (/** @type {string} */ key, /** @type {Partial<Attachment>} */ news) => {
    items.value = items.value.map((item) => (item.key === key ? { ...item, ...news } : item));
  };

  const add = (/** @type {Iterable<File>} */ files) => {
    for (const file of files) {
      const no = refusal(file, limits(), items.value.filter((item) => !item.refused).length);
      const item = newAttachment(file);
      if (no) items.value = [...items.value, { ...item, state: "failed", refused: true, problem: say(no) }];
      else {
        items.value = [...items.value, item];
        send(item.key, file);
      }
    }
  };

  const send = async (/** @type {string} */ key, /** @type {File} */ file) => {
    const control = new AbortController();
    going.set(key, control);
    change(key, { state: "uploading", progress: 0, problem: undefined });
    try {
      const type = readableType(file.type, await beginningOf(file), file.name);
      if (type === null) return change(key, { state: "failed", refused: true, problem: say({ key: "attach.unreadable" }) });
      change(key, { type, preview: isPicture(type) ? URL.createObjectURL(file) : undefined });
      const sent = type === file.type ? file : new File([file], file.name, { type });
      const kept = await upload(sent, { signal: control.signal, onProgress: (progress) => change(key, { progress }) });
      change(key, { state: "ready", progress: 1, id: kept.id, name: kept.name, file: undefined, document: isPicture(type) ? undefined : kept.document });
      followReading();
    } catch (error) {
      if (!control.signal.aborted) change(key, { state: "failed", problem: problemOf(error) });
    } finally {
      going.delete(key);
    }
    return undefined;
  };

  /** Asks how far the text of each file is read, until it is, or the file is removed. */
  const followReading = () => {
    for (const { key, id, document } of items.value) {
      if (!readState || !id || document?.status !== "pending" || followed.has(key)) continue;
      followed.add(key);
      const isGone = () => !items.value.some((item) => item.key === key);
      void followDocument(() => readState(id), isGone, (now) => change(key, { document: now }), pause);
    }
  };

  const problemOf = (/** @type {any} */ error) =>
    // A folder can be dropped, and cannot be read.
    error?.name === "NotReadableError" || error?.name === "NotFoundError" ? say({ key: "attach.unread" }) : String(error?.message ?? error);

  return {
    add,
    followReading,
    remove: (/** @type {string} */ key) => {
      going.get(key)?.abort();
      const gone = items.value.find((item) => item.key === key);
      if (gone?.preview) URL.revokeObjectURL(gone.preview);
      items.value = items.value.filter((item) => item.key !== key);
    },
    retry: (/** @type {string} */ key) => {
      const item = items.value.find((each) => each.key === key);
      if (item?.file && !item.refused) send(key, item.file);
    },
  };
}

/**
 * Asks for the state of a document until its text is read, or cannot be, or nobody wants to know.
 *
 * @param {() => ReturnType<ReadState>} read @param {() => boolean} isGone
 * @param {(now: import("./documents.mjs").DocumentState | undefined) => void} onChange
 */
export async function followDocument(read, isGone, onChange, pause = wait) {
  for (let isPending = true; isPending; ) {
    await pause();
    if (isGone()) return;
    const found = await read().catch(() => null);
    if (!found) continue;
    isPending = found.document?.status === "pending";
    onChange(found.document ?? undefined);
  }
}

const wait = () => /** @type {Promise<void>} */ (new Promise((resolve) => setTimeout(resolve, POLL_MS)));

/** @param {File} file @returns {Attachment} */
const newAttachment = (file) => ({
  key: crypto.randomUUID(),
  name: file.name || "file",
  size: file.size,
  type: file.type,
  state: "uploading",
  progress: 0,
  file,
});

/** @param {File} file */
const beginningOf = async (file) => new Uint8Array(await file.slice(0, PROBE_BYTES).arrayBuffer());

/** @param {Uint8Array} bytes */
function isText(bytes) {
  if (bytes.includes(0)) return false;
  // The last character may be cut in two, so what follows is expected.
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false; // another encoding, or not text
  }
}
