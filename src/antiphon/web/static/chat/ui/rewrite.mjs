/** Editor of a sent message. */
import { readyFiles } from "../attachments.mjs";
import { messageKey } from "../history.mjs";
import { edit } from "../rewriting.mjs";
import { editing } from "../store.mjs";
import { t } from "../t.mjs";
import { html, signal, useContext, useLayoutEffect, useMemo, useRef } from "../vendor/ui.mjs";
import { filesOf } from "../versions.mjs";
import { Attachments } from "./attachments.mjs";
import { Here } from "./here.mjs";
import { RefusedVersion } from "./refused_version.mjs";

/** @typedef {import("../history.mjs").Message} Message */

/** @param {{message: Message, text: string}} props */
export function Rewrite({ message, text }) {
  const { at } = useContext(Here);
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const files = useMemo(() => signal(filesOf(message).map((file) => ({ ...file, key: file.id, state: /** @type {const} */ ("ready"), progress: 1 }))), []);
  const leaveOut = (/** @type {string} */ key) => {
    files.value = files.value.filter((file) => file.key !== key);
    area.current?.focus();
  };
  // Before the next key is heard: it may be for the field already.
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);
  const close = () => {
    editing.value = null;
    document.getElementById("composer")?.focus();
  };
  const save = () => {
    const written = area.current?.value ?? "";
    if (written.trim() || files.value.length > 0) void edit(messageKey(message), written, readyFiles(files.value), at);
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing || event.keyCode === 229) return; // Safari says it by the number alone
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      save();
    }
  };
  return html`<form class="rewrite" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), save())}>
    <${Attachments} items=${files} onRemove=${leaveOut} onRetry=${leaveOut} />
    <textarea class="input" ref=${area} defaultValue=${text} dir="auto" aria-label=${t("message.edit_label")} onKeyDown=${keyed}></textarea>
    <${RefusedVersion} question=${message} isEdited />
    <div class="row">
      <span class="muted small grow">${t("message.edit_hint")}</span>
      <button type="button" class="button small quiet" onClick=${close}>${t("common.cancel")}</button>
      <button type="submit" class="button small primary">${t("message.send")}</button>
    </div>
  </form>`;
}
