/**
 * The composer.
 *
 * The field keeps its own text, so typing renders nothing again.
 */
import { queueEdit, send, stop } from "../conversation_actions.mjs";
import { upload } from "../api.mjs";
import { readyFiles } from "../attachments.mjs";
import { messageKey } from "../history.mjs";
import { toFill } from "../prompts.mjs";
import { besideOf, threadOf } from "../router.mjs";
import { isHere } from "../send.mjs";
import { away, BESIDE, current, editing, MAIN, me, path, pending, phase, prefs } from "../store.mjs";
import { t } from "../t.mjs";
import { html, signal, untracked, useMemo, useRef, useSignal, useSignalEffect, useState } from "../vendor/ui.mjs";
import { AttachButton, Attachments, Drop, pastedFiles, useAttachments } from "./attachments.mjs";
import { useDraft, useRefill } from "./composer_draft.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { Picker } from "./picker.mjs";
import { toast } from "./toasts.mjs";

const SlashPrompts = laterView(() => import("./slash_prompts.mjs").then((module) => module.SlashPrompts), { silent: true });

const ServerCatalog = laterView(() => import("./server_catalog.mjs").then((module) => module.ServerCatalog), { over: true });

const Dictation = laterView(() => import("./dictation.mjs").then((module) => module.Dictation), { silent: true });

/** For browsers that do not size the field by themselves. */
const MOST_ROWS = 12;

/** Focuses the composer. */
export function focusComposer() {
  document.getElementById("composer")?.focus();
}

/** @param {{onSent: () => void}} props */
export function Composer({ onSent }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const empty = useSignal(true);
  /** True once the person has used a prompt of theirs, and so may use another. */
  const slashed = useSignal(false);
  useSignalEffect(() => {
    if (toFill.value !== null) slashed.value = true;
  });
  /** Address whose conversations are to get what is written, once they are shown. */
  const due = useSignal(/** @type {string | null} */ (null));
  const items = useMemo(() => signal(/** @type {any[]} */ ([])), []);
  const attaching = useAttachments({ items, limits: me.value?.limits, upload });
  const draft = useDraft(area, items, empty);
  useRefill(area, items, draft);

  const fit = () => {
    const element = /** @type {HTMLTextAreaElement} */ (area.current);
    empty.value = element.value.trim() === "";
    if (element.value.startsWith("/")) slashed.value = true;
    if (!CSS.supports("field-sizing", "content")) element.rows = Math.min(MOST_ROWS, element.value.split("\n").length);
  };
  const changed = () => {
    due.value = null;
    fit();
    draft.note();
  };
  const submit = () => {
    const element = /** @type {HTMLTextAreaElement} */ (area.current);
    const files = readyFiles(items.value);
    if (items.value.some(({ state }) => state === "uploading")) return toast({ text: t("composer.uploading") });
    if (me.value === null && away.value) return toast({ text: t("composer.away") });
    if (!element.value.trim() && !files.length) return undefined;
    if (tooLong(element.value)) return undefined;
    if (!isLoaded()) {
      due.value = path.value;
      return undefined;
    }
    send({ text: element.value, files });
    element.value = "";
    items.value = items.value.filter(({ state }) => state === "failed");
    changed();
    draft.flush();
    onSent();
    return undefined;
  };
  useSignalEffect(() => {
    if (due.value === null) return;
    const isHere = due.value === path.value;
    if (isHere && !isLoaded()) return;
    due.value = null;
    if (isHere) untracked(submit);
  });
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    // An input method takes Enter for itself; Safari says so only by the number of the key.
    if (event.isComposing || event.keyCode === 229) return;
    if (isSendKey(event)) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && area.current?.value === "" && editLast()) {
      event.preventDefault();
    }
  };
  const pasted = (/** @type {ClipboardEvent} */ event) => {
    const files = pastedFiles(event);
    if (!files.length) return;
    event.preventDefault();
    attaching.add(files);
  };
  return html`<${Drop} onFiles=${attaching.add}>
    <form class="composer" aria-busy=${me.value === null || due.value !== null} onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), submit())}>
      <${Attachments} items=${items} onRemove=${attaching.remove} onRetry=${attaching.retry} />
      <label class="visually-hidden" for="composer">${t("composer.label")}</label>
      <textarea
        id="composer" ref=${area} rows="1" dir="auto" placeholder=${t("composer.placeholder")} enterkeyhint=${prefs.value.enterSends ? "send" : "enter"}
        onInput=${changed} onKeyDown=${keyed} onPaste=${pasted}
      ></textarea>
      ${slashed.value && html`<${SlashPrompts} area=${area} />`}
      <div class="composer-bar">
        <${AttachButton} onFiles=${attaching.add} />
        <${CatalogButton} />
        ${(me.value?.dictation || me.value?.transcribed_by) && html`<${Dictation} area=${area} />`}
        ${besideOf(path.value) ? html`<span class="muted small grow clipped">${t("compare.both")}</span>` : html`<${Picker} />`}
        <span class="grow"></span>
        <${Buttons} empty=${empty} items=${items} due=${due} />
      </div>
    </form>
  <//>`;
}

/** Button that opens the MCP servers, where there are any or the person may add them. */
function CatalogButton() {
  const [open, setOpen] = useState(false);
  if (!me.value?.servers?.length && !me.value?.manages_servers) return null;
  return html`<button
      type="button" class="icon-button" aria-label=${t("catalog.open")} title=${t("catalog.open")} aria-haspopup="dialog" onClick=${() => setOpen(true)}
    ><${Icon} name="server" /></button>
    ${open && html`<${ServerCatalog} onClose=${() => setOpen(false)} />`}`;
}

/** @param {{empty: {value: boolean}, items: {value: any[]}, due: {value: string | null}}} props */
function Buttons({ empty, items, due }) {
  const phases = [phase.value, BESIDE.phase.value].filter((each) => each !== "idle");
  const busy = phases.length > 0;
  const stopping = phases.every((each) => each === "stopping");
  const nothing = due.value !== null || (empty.value && !items.value.some(({ state }) => state === "ready"));
  const label = t(busy ? "composer.queue" : "composer.send");
  return html`
    ${busy && html`<button type="button" class="icon-button stop" aria-label=${t("composer.stop")} title=${t("composer.stop")} disabled=${stopping} onClick=${stop}><${Icon} name="stop" /></button>`}
    ${!(busy && nothing) && html`<button type="submit" class="icon-button send" aria-label=${label} title=${label} disabled=${nothing}><${Icon} name="send" /></button>`}`;
}

/** Returns true once the user is known and the conversations of the address are shown: they get what is sent. */
const isLoaded = () => me.value !== null && threadOf(path.value) === idAt(MAIN) && besideOf(path.value) === idAt(BESIDE);

/** @param {import("../store.mjs").Pane} at */
const idAt = (at) => at.current.value?.thread.id ?? null;

/** @param {string} text */
function tooLong(text) {
  const most = me.value?.limits?.message_characters;
  if (!most || text.length <= most) return false;
  toast({ text: t("composer.too_long", { most, have: text.length }), bad: true });
  return true;
}

/** Returns true if this Enter sends: with Ctrl or Cmd always, with Shift never. @param {KeyboardEvent} event */
function isSendKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.altKey) return false;
  return event.ctrlKey || event.metaKey || prefs.value.enterSends;
}

/** Edits the user's last message; an unsent one moves back into the composer. Returns false if there is none. */
function editLast() {
  const waiting = pending.value.findLast((entry) => isHere(entry) && entry.state !== "sending");
  const said = current.value?.messages.findLast(({ role }) => role === "user");
  if (waiting) queueEdit(waiting.id);
  else if (said) editing.value = messageKey(said);
  return Boolean(waiting ?? said);
}
