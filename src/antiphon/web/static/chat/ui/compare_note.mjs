/** Reminder that two answers use tools twice. */
import { me, threadOptions } from "../store.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";

export function CompareNote() {
  const offered = (me.value?.tools?.length ?? 0) > 0 || (me.value?.servers?.length ?? 0) > 0;
  if (!offered || threadOptions.value.allowed_tools?.length === 0) return null;
  return html`<p class="compare-note muted small"><${Icon} name="tool" size=${16} /><span>${t("compare.tools")}</span></p>`;
}
