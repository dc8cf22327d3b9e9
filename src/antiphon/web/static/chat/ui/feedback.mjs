/** Rating of an answer: thumbs, and a comment if one wants to give one. */
import { put } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { runAndReport, toast } from "./toasts.mjs";

/** @typedef {{rating: "up" | "down", comment: string}} Given */

/** @type {readonly ("up" | "down")[]} */
const RATINGS = ["up", "down"];

/**
 * Two buttons, and the field for a comment once one of them was pressed. A second press removes the
 * rating.
 *
 * @param {{id: string, thread: string, given?: Given}} props  `given` is what the server has
 */
export function Feedback({ id, thread, given }) {
  const [changed, setChanged] = useState(/** @type {Given | null | undefined} */ (undefined));
  const [isAsking, setAsking] = useState(false);
  const current = changed === undefined ? given : changed;
  const buttons = useRef(/** @type {Record<string, HTMLElement | null>} */ ({}));

  const save = async (/** @type {"up" | "down" | null} */ rating, comment = "") => {
    const answer = await runAndReport(() => put(`/api/threads/${thread}/feedback/${id}`, { rating, comment }));
    if (answer === undefined) return false;
    setChanged(rating ? answer : null);
    return true;
  };
  const press = async (/** @type {"up" | "down"} */ rating) => {
    const removes = current?.rating === rating;
    setAsking((await save(removes ? null : rating)) && !removes);
  };
  const close = () => {
    setAsking(false);
    if (current) buttons.current[current.rating]?.focus();
  };
  const send = async (/** @type {string} */ comment) => {
    if (current && !(await save(current.rating, comment))) return;
    close();
    toast({ text: t("feedback.thanks") });
  };

  return html`${RATINGS.map(
    (rating) => html`<button
      key=${rating} type="button" class="icon-button act" ref=${(/** @type {HTMLElement | null} */ button) => (buttons.current[rating] = button)}
      aria-label=${t(`feedback.${rating}`)} title=${t(`feedback.${rating}`)} aria-pressed=${current?.rating === rating}
      onClick=${() => void press(rating)}
    ><${Icon} name=${`thumb_${rating}`} size=${16} /></button>`,
  )}
  ${isAsking && current && html`<${Comment} given=${current} onSend=${send} onClose=${close} />`}`;
}

/** @param {{given: Given, onSend: (comment: string) => void, onClose: () => void}} props */
function Comment({ given, onSend, onClose }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  // Before the next key is heard: it may be for the field already.
  useLayoutEffect(() => field.current?.focus(), []);
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    onClose();
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const comment = field.current?.value.trim() ?? "";
    if (comment) onSend(comment);
    else onClose();
  };
  const label = t(`feedback.why_${given.rating}`);
  return html`<form class="feedback row" onSubmit=${submit}>
    <input class="input grow" ref=${field} defaultValue=${given.comment} maxlength="4000" dir="auto" aria-label=${label} placeholder=${label} onKeyDown=${keyed} />
    <button type="button" class="button small quiet" onClick=${onClose}>${t("common.cancel")}</button>
    <button type="submit" class="button small primary">${t("feedback.send")}</button>
  </form>`;
}
