/**
 * Temporary chats: in no list, and deleted when the user leaves them.
 *
 * A chat that cannot be deleted when it is left is deleted by the server some time later.
 *
 * @module
 */

import { patch, remove } from "./api.mjs";
import { closeThread } from "./conversation.mjs";
import { storeDraft } from "./drafts.mjs";
import { navigate } from "./router.mjs";
import { forgetTemporary, personId } from "./send.mjs";
import { beginsTemporary, current } from "./store.mjs";
import { loadThreads } from "./threads.mjs";
import { runAndReport } from "./ui/toasts.mjs";
import { batch } from "./vendor/ui.mjs";

/** Decides if the chat that begins here is temporary; then its draft is not stored. @param {boolean} is */
export function setTemporary(is) {
  beginsTemporary.value = is;
  if (is) storeDraft(personId(), null, { text: "", files: [] });
}

/** Keeps the temporary chat that is open. */
export async function keepChat() {
  const id = current.value?.thread.id;
  if (!id) return;
  const row = await runAndReport(() => patch(addressOf(id), { temporary: false }));
  if (!row) return;
  if (current.value?.thread.id === id) current.value = { ...current.value, thread: row };
  await loadThreads();
}

/** Deletes the temporary chat that is open, and opens this address. @param {string} to */
export async function leaveChat(to) {
  const id = current.value?.thread.id;
  batch(() => {
    forgetTemporary();
    closeThread();
    navigate(to, { sure: true });
  });
  if (id) await runAndReport(() => remove(addressOf(id)));
}

/** Deletes the temporary chat that is open when the page is closed; the browser asks before. */
export function deleteOnClose() {
  window.addEventListener("beforeunload", (event) => {
    if (current.value?.thread.temporary) event.preventDefault();
  });
  window.addEventListener("pagehide", () => {
    const open = current.value;
    if (!open?.thread.temporary) return;
    void remove(addressOf(open.thread.id), { keepalive: true }).catch(() => {}); // nobody reads the answer
    forgetTemporary();
    closeThread();
  });
}

/** @param {string} id */
const addressOf = (id) => `/api/threads/${encodeURIComponent(id)}`;
