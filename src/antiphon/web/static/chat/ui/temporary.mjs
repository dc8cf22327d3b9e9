/** Temporary chats: the switch before the first message, the mark, and the question on leaving. */
import { beginsTemporary, current, leavingTo } from "../store.mjs";
import { t } from "../t.mjs";
import { keepChat, leaveChat, setTemporary } from "../temporary.mjs";
import { html } from "../vendor/ui.mjs";
import { Check } from "./check.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";

const ConfirmDialog = laterView(() => import("./confirm.mjs").then((module) => module.ConfirmDialog), { over: true });

/** Switch of an empty chat. */
export function TemporarySwitch() {
  return html`<${Check} label=${t("temporary.switch")} hint=${t("temporary.hint")} checked=${beginsTemporary.value} onChange=${setTemporary} />`;
}

/** Mark of a temporary chat, with a button that keeps it. */
export function TemporaryMark() {
  const begun = current.value?.thread.temporary;
  if (!begun && (current.value || !beginsTemporary.value)) return null;
  return html`<p class="temporary-mark small">
    <${Icon} name="timer" size=${16} /><span class="grow">${t("temporary.mark")}</span>
    ${begun && html`<button type="button" class="button quiet small" onClick=${keepChat}>${t("temporary.keep")}</button>`}
  </p>`;
}

/** Question whether a temporary chat may be deleted, asked before another one opens. */
export function LeaveTemporary() {
  const to = leavingTo.value;
  if (to === null) return null;
  return html`<${ConfirmDialog}
    title=${t("temporary.leave_title")} text=${t("temporary.leave_text")} action=${t("temporary.leave")}
    onConfirm=${() => leaveChat(to)} onClose=${() => (leavingTo.value = null)}
  />`;
}
