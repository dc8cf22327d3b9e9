/** The user's threads: paging, search, filters, rename, pin, archive, tags, delete with undo. */
import { get, patch, post, remove } from "./api.mjs";
import { navigate } from "./router.mjs";
import { searchMessages } from "./search.mjs";
import { BESIDE, current, folders, folderThreads, leavingFolders, listsRead, tagCounts, threads } from "./store.mjs";
import { t, tCount } from "./t.mjs";
import { runAndReport, toast } from "./ui/toasts.mjs";

const PAGE = 40;
const UNDO_SECONDS = 8;

/**
 * @typedef {object} Thread
 * @property {string} id
 * @property {string} title
 * @property {number} messages
 * @property {number} created_at
 * @property {number} updated_at
 * @property {boolean} running
 * @property {boolean} waiting  for a person's answer
 * @property {boolean} pinned
 * @property {boolean} archived
 * @property {string[]} tags
 * @property {string | null} folder_id
 * @property {string | null} title_from  "message" until a model or a client has given another one
 * @property {string | null} replaces  the thread in whose place it stands
 *
 * @typedef {{data: Thread[], next: string | null}} Page
 * @typedef {{query: string, archived: boolean, tag: string}} View  what the list shows
 */

const BATCH = 100;

/** Of changes that are shown at once: a page that is left or reloaded then does not cut them off. */
const OUTLIVES_PAGE = { keepalive: true };

/** @type {Map<string, () => Promise<void>>} What is to be deleted unless it is called back, and the way to do it now. */
const leaving = new Map();

/** Reloads the first page of the current search; the rows below it stay. */
export async function loadThreads() {
  listsRead.value += 1;
  loadTags();
  await readFirstPage((page) => joinPages(page, threads.value), { unasked: true });
}

/** Cursor of the page that is being read; "" while none is. */
let reading = "";

/** Reads the next page, if there is one. */
export async function moreThreads() {
  const view = threads.value;
  const { next } = view;
  if (!next || reading === next) return;
  reading = next;
  await runAndReport(async () => {
    const page = await get(address(view, next));
    if (threads.value.next !== next || !sameView(threads.value, view)) return;
    const { data } = threads.value;
    const more = withoutListed(shownRows(page.data), data);
    threads.value = { ...threads.value, data: [...data, ...more], next: page.next };
  });
  if (reading === next) reading = "";
}

/** Shows the threads that hold these words, all for none. */
export async function searchFor(/** @type {string} */ query) {
  await Promise.all([showThreads({ query }), searchMessages(query)]);
}

/** Shows other threads: those with some words, those of the archive, or those of a tag. */
export async function showThreads(/** @type {Partial<View>} */ view) {
  threads.value = { ...threads.value, ...view };
  await readFirstPage(({ data, next }) => ({ data: shownRows(data), next }));
}

/** Reads the user's tags, with counts. */
export async function loadTags() {
  await runAndReport(
    async () => {
      tagCounts.value = (await get("/api/tags")).data;
    },
    { unasked: true },
  );
}

/** Puts a thread into the archive, or takes it out; it leaves the list at once, and can be undone. */
export async function archiveThread(/** @type {string} */ id, /** @type {boolean} */ archived, { undo = true } = {}) {
  const away = !threads.value.query && archived !== threads.value.archived;
  if (away) changeRows((data) => data.filter((one) => one.id !== id));
  else change(id, { archived });
  const saved = await runAndReport(() => patch(`/api/threads/${encodeURIComponent(id)}`, { archived }, OUTLIVES_PAGE));
  loadThreads();
  if (!saved || !undo) return;
  toast({
    text: t(archived ? "threads.archived" : "threads.unarchived"),
    action: { label: t("common.undo"), run: () => archiveThread(id, !archived, { undo: false }) },
    seconds: UNDO_SECONDS,
  });
}

/** Gives a thread these tags, separated by commas. */
export async function tagThread(/** @type {string} */ id, /** @type {string} */ written) {
  const tags = written.split(",").map((tag) => tag.trim()).filter(Boolean);
  const saved = await runAndReport(() => patch(`/api/threads/${encodeURIComponent(id)}`, { tags }));
  if (saved) change(id, { tags: saved.tags });
  loadThreads();
}

/** Renames a thread; the new title is shown at once. */
export async function renameThread(/** @type {string} */ id, /** @type {string} */ title) {
  const wanted = title.trim();
  const before = findRow(id);
  if (!wanted || wanted === before?.title) return;
  retitle(id, wanted);
  const renamed = await runAndReport(() => patch(`/api/threads/${encodeURIComponent(id)}`, { title: wanted }, OUTLIVES_PAGE));
  if (!renamed && before) retitle(id, before.title);
  loadThreads(); // a list that was read before may have brought back the old title
}

/** Pins a thread to the beginning of the list, or unpins it; shown at once. */
export async function pinThread(/** @type {string} */ id, /** @type {boolean} */ pinned) {
  change(id, { pinned });
  const saved = await runAndReport(() => patch(`/api/threads/${encodeURIComponent(id)}`, { pinned }, OUTLIVES_PAGE));
  if (saved) loadThreads();
  else change(id, { pinned: !pinned });
}

/** Deletes a thread after some seconds in which it can be undone. */
export function deleteThread(/** @type {string} */ id) {
  leave([id], t("threads.deleted"), () => remove(`/api/threads/${encodeURIComponent(id)}`, { keepalive: true }));
}

/** Deletes threads as `deleteThread` does, in one request. */
export function deleteThreads(/** @type {string[]} */ ids) {
  leave(ids, tCount("threads.many_deleted", ids.length), () => changeThreads(ids, { action: "delete" }));
}

/** Archives threads, takes them out of the archive, or gives them tags. */
export async function changeMany(/** @type {string[]} */ ids, /** @type {{action: string, tags?: string[]}} */ change) {
  await runAndReport(() => changeThreads(ids, change));
  await showThreads({});
  listsRead.value += 1;
  loadTags();
}

/** Throws the first problem of a thread, after all were tried. */
export async function changeThreads(/** @type {string[]} */ ids, /** @type {{action: string, tags?: string[], folder_id?: string | null}} */ change) {
  // All at once: when the page is left, none may wait for another.
  const parts = Array.from({ length: Math.ceil(ids.length / BATCH) }, (_, part) => ids.slice(part * BATCH, (part + 1) * BATCH));
  const answers = await Promise.all(
    parts.map((part) => post("/api/threads/batch", { thread_ids: part, ...change }, { keepalive: true })),
  );
  const results = answers.flatMap(({ data }) => /** @type {{done: boolean, code: string, message: string}[]} */ (data));
  const bad = results.find(({ done, code }) => !done && code !== "not_found");
  if (bad) throw bad;
}

/**
 * Takes threads from the list, and deletes them after some seconds in which it can be undone.
 *
 * @param {string[]} ids @param {string} text @param {() => Promise<unknown>} work
 */
function leave(ids, text, work) {
  const gone = new Set(ids);
  changeRows((data) => data.filter((one) => !gone.has(one.id)));
  if ([current, BESIDE.current].some(({ value }) => gone.has(value?.thread.id ?? ""))) navigate("/");
  const forget = () => {
    clearTimeout(timer);
    const open = ids.some((id) => leaving.get(id) === deleteNow);
    ids.forEach((id) => leaving.delete(id));
    return open;
  };
  const deleteNow = async () => {
    if (!ids.some((id) => leaving.get(id) === deleteNow)) return;
    clearTimeout(timer);
    const done = await runAndReport(work);
    forget();
    if (!done) loadThreads();
  };
  const timer = setTimeout(deleteNow, UNDO_SECONDS * 1000);
  ids.forEach((id) => leaving.set(id, deleteNow));
  const undo = () => {
    if (forget()) loadThreads();
  };
  toast({ text, action: { label: t("common.undo"), run: undo }, seconds: UNDO_SECONDS });
}

const TITLE_WAITS = [0.5, 1, 2, 4, 8, 15];

/**
 * Shows the title that a model writes for a thread soon after its first answer. Where none is being
 * written, it asks twice.
 *
 * @param {string} id
 */
export async function awaitTitle(id) {
  const title = titleOf(id);
  for (const [asked, seconds] of TITLE_WAITS.entries()) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (titleOf(id) !== title) return;
    const thread = await get(`/api/threads/${encodeURIComponent(id)}`).catch(() => null);
    if (!thread || titleOf(id) !== title) return;
    if (thread.title !== title) return retitle(id, thread.title);
    if (thread.title_from === "client" || (thread.title_from === "message" && asked > 0)) return;
  }
}

function titleOf(/** @type {string} */ id) {
  const open = current.value?.thread;
  return open?.id === id ? open.title : findRow(id)?.title;
}

/** Returns the thread as it is listed, in a folder or not. @param {string} id @returns {Thread | undefined} */
export function findRow(id) {
  const lists = [threads.value, ...Object.values(folderThreads.value)];
  return lists.flatMap(({ data }) => /** @type {Thread[]} */ (data)).find((one) => one.id === id);
}

/** Has the browser save a thread as a file: "md", "json" or "html". */
export function exportThread(/** @type {string} */ id, /** @type {string} */ as) {
  const link = document.createElement("a");
  link.href = `/api/threads/${encodeURIComponent(id)}/export?as=${as}`;
  link.download = "";
  link.click();
}

/** Numbers of the last request for a first page, and of that whose answer is shown. */
const firstPages = { sent: 0, shown: 0 };

/**
 * Reads the first page, and shows it unless the search has changed or a later answer is shown.
 *
 * @param {(page: Page) => Page} shown
 * @param {{unasked?: boolean}} [how]
 */
async function readFirstPage(shown, how = {}) {
  const view = threads.value;
  const number = ++firstPages.sent;
  await runAndReport(async () => {
    const page = await get(address(view));
    if (!sameView(threads.value, view) || number < firstPages.shown) return;
    firstPages.shown = number;
    threads.value = { ...threads.value, ...shown(page) };
  }, how);
}

/**
 * The list with another beginning: those of the page, then those that stood below them.
 *
 * @param {Page} page
 * @param {Page} before
 */
function joinPages(page, before) {
  const last = page.data.at(-1);
  const older =
    page.next && last ? before.data.filter((one) => !one.pinned && one.updated_at <= last.updated_at) : [];
  const rest = withoutListed(older, page.data);
  return { data: shownRows([...page.data, ...rest]), next: rest.length > 0 ? before.next : page.next };
}

/**
 * Returns the threads that are not listed above, neither themselves nor by a replacement.
 *
 * @param {Thread[]} data
 * @param {Thread[]} above
 */
export function withoutListed(data, above) {
  const listed = new Set(above.flatMap(({ id, replaces }) => [id, replaces]));
  return data.filter(({ id }) => !listed.has(id));
}

/** Returns true if the list is no search, and is not filtered: then folders stand above it. @param {View} view */
export const isWhole = ({ query, archived, tag }) => !query && !archived && !tag;

/** @param {View} one @param {View} other */
function sameView(one, other) {
  return one.query === other.query && one.archived === other.archived && one.tag === other.tag;
}

function address(/** @type {View} */ { query, archived, tag }, /** @type {string} */ after = "") {
  const asked = new URLSearchParams({ limit: String(PAGE) });
  if (query) asked.set("q", query);
  if (archived) asked.set("archived", "true");
  if (tag) asked.set("tag", tag);
  if (isWhole({ query, archived, tag }) && folders.value.length > 0 && leavingFolders.value.size === 0) asked.set("folder_id", "none");
  if (after) asked.set("after", after);
  return `/api/threads?${asked}`;
}

/** Returns the threads that the list shows: while folders are being deleted, their threads too. @param {Thread[]} data */
function shownRows(data) {
  const rows = withoutDeleted(data);
  if (!isWhole(threads.value) || leavingFolders.value.size === 0) return rows;
  return rows.filter(({ pinned, folder_id }) => pinned || !folder_id || leavingFolders.value.has(folder_id));
}

export function withoutDeleted(/** @type {Thread[]} */ data) {
  return data.filter((thread) => !leaving.has(thread.id) && !leavingFolders.value.get(thread.folder_id ?? ""));
}

/** Shows a thread with other values in the list. */
function change(/** @type {string} */ id, /** @type {Partial<Thread>} */ values) {
  changeRows((data) => data.map((one) => (one.id === id ? { ...one, ...values } : one)));
}

/** Shows other threads in the list and in each folder. @param {(data: Thread[]) => Thread[]} changed */
function changeRows(changed) {
  threads.value = { ...threads.value, data: changed(/** @type {Thread[]} */ (threads.value.data)) };
  const pages = Object.entries(folderThreads.value).map(([id, page]) => [id, { ...page, data: changed(page.data) }]);
  folderThreads.value = Object.fromEntries(pages);
}

function retitle(/** @type {string} */ id, /** @type {string} */ title) {
  change(id, { title });
  const open = current.value;
  if (open?.thread.id === id) current.value = { ...open, thread: { ...open.thread, title } };
}

if (typeof window !== "undefined") {
  // When the page is left, pending deletions are done.
  window.addEventListener("pagehide", () => new Set(leaving.values()).forEach((deleteNow) => void deleteNow()));
}
