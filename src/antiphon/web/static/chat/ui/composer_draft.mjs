/** Draft in the composer: it stays with the chat and the person that it was written for. */
import { readyFiles } from "../attachments.mjs";
import { draftOf, storeDraft } from "../drafts.mjs";
import { threadOf } from "../router.mjs";
import { begunHere, draftOwner, isTemporaryHere, path, refill } from "../store.mjs";
import { useEffect, useLayoutEffect, useRef } from "../vendor/ui.mjs";

const DRAFT_MS = 250;

/**
 * Chat of a draft. The same object goes on where a new chat gets its thread.
 *
 * @typedef {object} Place
 * @property {string} owner
 * @property {string | null} thread  null for the chat that begins
 * @property {boolean} temporary  then the draft is not stored
 */

/** Field of the composer that is shown, and its place. */
let shown = /** @type {{area: {current: HTMLTextAreaElement | null}, place: {current: Place | null}} | null} */ (null);

/** Returns the place of what is written now; null where no composer is shown. */
export const currentPlace = () => shown?.place.current ?? null;

/** Returns true if both are the same chat of the same person. @param {Place | null} one @param {Place | null} other */
export const isSamePlace = (one, other) => one?.owner === other?.owner && one?.thread === other?.thread;

/**
 * Writes a text into the draft of this place: at the cursor if the place is shown, else after its stored draft.
 * Returns where it was written; `lost` if the person has signed out, or the temporary chat is gone.
 *
 * @param {Place} place @param {string} text @returns {"shown" | "stored" | "lost"}
 */
export function writeInto(place, text) {
  const field = shown?.area.current;
  if (field && isSamePlace(place, currentPlace())) {
    insert(field, text);
    return "shown";
  }
  if (place.temporary || place.owner !== draftOwner.value) return "lost";
  const before = draftOf(place.owner, place.thread).text;
  storeDraft(place.owner, place.thread, { text: before + gapAfter(before) + text });
  return "stored";
}

/** Writes a text at the cursor of the field. @param {HTMLTextAreaElement} field @param {string} text */
function insert(field, text) {
  const gap = gapAfter(field.value.slice(0, field.selectionStart));
  field.setRangeText(gap + text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
}

/** @param {string} before */
const gapAfter = (before) => (before && !/\s$/.test(before) ? " " : "");

/**
 * Keeps what is written with its thread, and shows what was written there before.
 *
 * @param {{current: HTMLTextAreaElement | null}} area @param {{value: any[]}} items @param {{value: boolean}} empty
 */
export function useDraft(area, items, empty) {
  const thread = threadOf(path.value);
  const owner = draftOwner.value;
  const timer = useRef(0);
  /** Place of the text in the field. */
  const place = useRef(/** @type {Place | null} */ (null));
  if (place.current?.thread === thread) place.current.temporary = isTemporaryHere();
  const flush = (/** @type {HTMLTextAreaElement | null} */ element = area.current) => {
    clearTimeout(timer.current);
    if (!element || !place.current || place.current.temporary) return;
    storeDraft(place.current.owner, place.current.thread, { text: element.value, files: readyFiles(items.value) });
  };
  const note = () => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => flush(), DRAFT_MS);
  };
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    if (matchMedia("(hover: hover)").matches) element.focus();
    if (owner === null) return; // drafts belong to a user
    const goesOn = place.current?.thread === null && thread !== null && begunHere.value === thread;
    const isFirst = place.current === null;
    if (goesOn) {
      storeDraft(owner, null, { text: "", files: [] });
      Object.assign(/** @type {Place} */ (place.current), { owner, thread });
      return flush();
    }
    flush();
    place.current = { owner, thread, temporary: isTemporaryHere() };
    const { text, files } = draftOf(owner, thread);
    const kept = files.map((file) => ({ ...file, key: file.id, state: "ready", progress: 1 }));
    // What was written before the user was known follows their draft.
    element.value = isFirst ? [text, element.value].filter(Boolean).join("\n") : text;
    items.value = isFirst ? [...kept, ...items.value] : kept;
    empty.value = element.value.trim() === "";
  }, [thread, owner]);
  useEffect(() => {
    const mine = { area, place };
    shown = mine;
    const element = area.current; // when this view goes, the reference is empty
    const leave = () => flush(element);
    window.addEventListener("pagehide", leave);
    const unsubscribe = /** @type {any} */ (items).subscribe(note);
    return () => {
      leave();
      if (shown === mine) shown = null;
      unsubscribe();
      window.removeEventListener("pagehide", leave);
    };
  }, []);
  return { note, flush };
}

/** Takes what is to be written on, before what is written. @param {{current: HTMLTextAreaElement | null}} area @param {{value: any[]}} items @param {{note: () => void}} draft */
export function useRefill(area, items, draft) {
  const news = refill.value;
  useLayoutEffect(() => {
    const element = area.current;
    if (!news || !element) return;
    refill.value = null;
    element.value = [news.text, element.value].filter(Boolean).join("\n");
    items.value = [...news.files.map((file) => ({ ...file, key: file.id, state: "ready", progress: 1 })), ...items.value];
    element.dispatchEvent(new Event("input", { bubbles: true }));
    element.focus();
    draft.note();
  }, [news]);
}
