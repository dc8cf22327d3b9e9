/** Folders of the user's threads: read, create, change, move threads, delete with undo. */
import { get, patch, post, remove } from "./api.mjs";
import { newThread } from "./conversation_actions.mjs";
import { navigate } from "./router.mjs";
import { beginsInFolder, current, folders, folderThreads, leavingFolders, prefs } from "./store.mjs";
import { t, tCount } from "./t.mjs";
import { changeThreads, findRow, loadThreads, showThreads, withoutDeleted, withoutListed } from "./threads.mjs";
import { runAndReport, toast } from "./ui/toasts.mjs";

const PAGE = 40;
const UNDO_SECONDS = 8;

/**
 * @typedef {import("./threads.mjs").Thread} Thread
 * @typedef {{id: string, name: string}} Folder
 */

/** Reads the folders, and the first threads of those that are open in the list. */
export async function loadFolders() {
  const before = folders.value.length;
  await runAndReport(
    async () => {
      const { data } = await get("/api/folders");
      const { compare } = new Intl.Collator(undefined, { numeric: true });
      folders.value = data
        .filter((/** @type {Folder} */ { id }) => !leavingFolders.value.has(id))
        .sort((/** @type {Folder} */ one, /** @type {Folder} */ other) => compare(one.name, other.name));
    },
    { unasked: true },
  );
  if (before === 0 && folders.value.length > 0) void showThreads({}); // without those in folders
  await Promise.all(folders.value.filter(({ id }) => isOpen(id)).map(({ id }) => readFolder(id)));
}

/** Returns true if the threads of a folder are shown in the list. @param {string} id */
export const isOpen = (id) => (prefs.value.openFolders ?? []).includes(id);

/** Shows the threads of a folder in the list, or hides them. @param {string} id @param {boolean} open */
export function openFolder(id, open) {
  const others = (prefs.value.openFolders ?? []).filter((/** @type {string} */ each) => each !== id && nameOf(each) !== undefined);
  prefs.value = { ...prefs.value, openFolders: open ? [...others, id] : others };
  if (open) void readFolder(id);
}

/** Returns the name of a folder, if it is there. @param {string | null | undefined} id */
export const nameOf = (id) => folders.value.find((each) => each.id === id)?.name;

/** Reads the first threads of a folder. @param {string} id */
async function readFolder(id) {
  const page = await runAndReport(() => get(address(id)), { unasked: true });
  if (page) folderThreads.value = { ...folderThreads.value, [id]: { data: withoutDeleted(page.data), next: page.next } };
}

/** Reads the next threads of a folder. @param {string} id */
export async function moreInFolder(id) {
  const { data, next } = folderThreads.value[id];
  const page = await runAndReport(() => get(address(id, next)));
  if (!page || folderThreads.value[id]?.next !== next) return;
  const more = withoutListed(withoutDeleted(page.data), data);
  folderThreads.value = { ...folderThreads.value, [id]: { data: [...data, ...more], next: page.next } };
}

/** @param {string} id @param {string | null} [after] */
function address(id, after) {
  const asked = new URLSearchParams({ limit: String(PAGE), folder_id: id });
  if (after) asked.set("after", after);
  return `/api/threads?${asked}`;
}

/** Opens an empty chat whose thread will be in the folder. @param {string} id */
export function newThreadIn(id) {
  beginsInFolder.value = id;
  newThread();
  openFolder(id, true);
}

/**
 * Puts threads into a folder, or out of theirs; it can be undone.
 *
 * @param {string[]} ids @param {string | null} folder
 */
export async function moveThreads(ids, folder) {
  const before = new Map(ids.map((id) => [id, findRow(id)?.folder_id ?? null]));
  if (!(await move(ids, folder))) return;
  const undo = async () => {
    for (const each of new Set(before.values())) await move(ids.filter((id) => before.get(id) === each), each);
  };
  toast({ text: tCount("folders.moved", ids.length), action: { label: t("common.undo"), run: undo }, seconds: UNDO_SECONDS });
}

/** Returns true if the threads were moved. @param {string[]} ids @param {string | null} folder */
async function move(ids, folder) {
  const moved = await runAndReport(async () => {
    await changeThreads(ids, { action: "move", folder_id: folder });
    return true;
  });
  const open = current.value;
  if (moved && open && ids.includes(open.thread.id)) {
    current.value = { ...open, thread: { ...open.thread, folder_id: folder } };
  }
  if (moved && folder) openFolder(folder, true);
  await showThreads({});
  void loadThreads();
  return moved === true;
}

/** Creates a folder, or changes one. Rejects with the server's `Problem`. @param {string | null} id @param {{name: string, instructions?: string, file_ids?: string[]}} values @returns {Promise<Folder>} */
export async function saveFolder(id, values) {
  const saved = id ? await patch(`/api/folders/${encodeURIComponent(id)}`, values) : await post("/api/folders", values);
  await loadFolders();
  return saved;
}

/** Returns a folder with its instructions and files. @param {string} id @returns {Promise<Folder & {instructions: string, file_ids: string[]}>} */
export const readInstructions = (id) => get(`/api/folders/${encodeURIComponent(id)}`);

/**
 * Deletes a folder after some seconds in which it can be undone; its threads stay, unless they are
 * to be deleted with it.
 *
 * @param {Folder} folder @param {boolean} withThreads
 */
export function deleteFolder(folder, withThreads) {
  leavingFolders.value = new Map(leavingFolders.value).set(folder.id, withThreads);
  folders.value = folders.value.filter(({ id }) => id !== folder.id);
  if (beginsInFolder.value === folder.id) beginsInFolder.value = null;
  if (withThreads && current.value?.thread.folder_id === folder.id) navigate("/");
  void showThreads({});
  const forget = () => {
    clearTimeout(timer);
    removeEventListener("pagehide", deleteNow);
    const rest = new Map(leavingFolders.value);
    const pending = rest.delete(folder.id);
    leavingFolders.value = rest;
    return pending;
  };
  const deleteNow = async () => {
    clearTimeout(timer);
    const query = withThreads ? "?delete_threads=true" : "";
    await runAndReport(() => remove(`/api/folders/${encodeURIComponent(folder.id)}${query}`, { keepalive: true }));
    forget();
    void showThreads({});
    void loadThreads();
  };
  const timer = setTimeout(deleteNow, UNDO_SECONDS * 1000);
  addEventListener("pagehide", deleteNow);
  const undo = async () => {
    if (!forget()) return;
    await loadFolders();
    await showThreads({});
  };
  toast({ text: t("folders.deleted"), action: { label: t("common.undo"), run: undo }, seconds: UNDO_SECONDS });
}
