/** Text and files that were meant for a thread that there is not, or not any more, and the way to a new chat. */
import { queueRemove } from "../conversation_actions.mjs";
import { draftOf, storeDraft } from "../drafts.mjs";
import { navigate } from "../router.mjs";
import { draftOwner, pending, refill } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Notice } from "./notice.mjs";

/** @param {{thread: string}} props */
export function UnsentText({ thread }) {
  const owner = draftOwner.value;
  const [draft, setDraft] = useState(/** @type {import("../drafts.mjs").Draft | null} */ (null));
  // In an effect: the composer, which this view takes the place of, stores its text when it goes.
  useEffect(() => setDraft(owner === null ? null : draftOf(owner, thread)), [owner, thread]);
  const unsent = pending.value.filter((entry) => entry.thread === thread && entry.state !== "sending");
  if (owner === null || !draft || !(draft.text || draft.files.length > 0 || unsent.length > 0)) return null;
  const parts = [...unsent, draft];
  const take = () => {
    storeDraft(owner, thread, { text: "", files: [], scroll: null });
    unsent.forEach(({ id }) => queueRemove(id));
    navigate("/");
    refill.value = { text: parts.map(({ text }) => text).filter(Boolean).join("\n\n"), files: parts.flatMap(({ files }) => files) };
  };
  return html`<${Notice} role="status" text=${t("lost.unsent")}>
    <button type="button" class="button" onClick=${take}><${Icon} name="compose" size=${18} />${t("lost.take")}</button>
  <//>`;
}
