/** Imports of chats elsewhere: the file is sent in pieces, and read by the server in the background. */
import { get, post, remove } from "./api.mjs";
import { signal } from "./vendor/ui.mjs";

/**
 * @typedef {object} ChatImport
 * @property {string} id
 * @property {string} name
 * @property {number} size
 * @property {number} received
 * @property {"uploading" | "checking" | "ready" | "importing" | "completed" | "failed" | "cancelled"} status
 * @property {string} step
 * @property {number} done
 * @property {number} of
 * @property {{conversations: number, versions: number, messages: number, files: number, present: number, skipped: Record<string, number>} | null} found
 * @property {{code: string, message: string} | null} problem
 */

/** The user's imports, newest first, and the limits; null until they are loaded. */
export const chatImports = signal(/** @type {{data: ChatImport[], max_bytes: number, piece_bytes: number} | null} */ (null));

/** The import whose file this page is sending, or null. */
export const sendingImport = signal(/** @type {string | null} */ (null));

/** Returns whether the server is at work on the import. */
export const isWorking = (/** @type {ChatImport} */ { status }) => status === "checking" || status === "importing";

/** Returns whether the import has ended. */
export const hasEnded = (/** @type {ChatImport} */ { status }) => status === "completed" || status === "failed" || status === "cancelled";

/** Most characters of a file's name that a server keeps. */
const MAX_NAME = 200;

/** Loads the imports. */
export async function loadImports() {
  chatImports.value = await get("/api/chat_imports");
}

/** Sends a file: the rest of an upload that broke off, or a new one. */
export async function sendExport(/** @type {File} */ file) {
  await loadImports(); // another window may have sent more of it
  const name = [...file.name].slice(0, MAX_NAME).join("");
  const waiting = chatImports.value?.data.find(({ status }) => status === "uploading");
  if (waiting?.name === name && waiting.size === file.size) {
    await sendPieces(waiting, file);
    return;
  }
  if (waiting) await changeImport(waiting.id, "cancel");
  const made = await post("/api/chat_imports", { name, size: file.size });
  await loadImports();
  await sendPieces(made, file);
}

/** Starts or cancels an import. */
export async function changeImport(/** @type {string} */ id, /** @type {"start" | "cancel"} */ change) {
  if (sendingImport.value === id) sendingImport.value = null;
  show(await post(`${address(id)}/${change}`, {}));
}

/** Deletes an import that has ended from the list, also where another window has done so. */
export async function dismissImport(/** @type {string} */ id) {
  try {
    await remove(address(id));
  } catch (/** @type {any} */ fault) {
    if (fault.status !== 404) throw fault;
  }
  await loadImports();
}

/** Sends the pieces that are missing, one after the other, until another one is sent or it is cancelled. */
async function sendPieces(/** @type {ChatImport} */ made, /** @type {File} */ file) {
  const size = chatImports.value?.piece_bytes ?? 1;
  sendingImport.value = made.id;
  try {
    for (let at = made; at.status === "uploading" && sendingImport.value === made.id; ) {
      const content = await toBase64(file.slice(at.received, at.received + size));
      at = await post(`${address(made.id)}/pieces`, { offset: at.received, content });
      show(at);
    }
  } catch (fault) {
    if (sendingImport.value === made.id) throw fault; // else it was cancelled, and its next piece refused
  } finally {
    if (sendingImport.value === made.id) sendingImport.value = null;
  }
}

/** @param {Blob} piece @returns {Promise<string>} */
function toBase64(piece) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(piece);
  });
}

function show(/** @type {ChatImport} */ changed) {
  const known = chatImports.value;
  if (known) chatImports.value = { ...known, data: known.data.map((each) => (each.id === changed.id ? changed : each)) };
}

function address(/** @type {string} */ id) {
  return `/api/chat_imports/${encodeURIComponent(id)}`;
}
