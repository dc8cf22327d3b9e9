/** Button for the options of the open chat, which shows whether they differ from the default. */
import { threadOptions } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";

const OptionsDialog = laterView(() => import("./options_dialog.mjs").then((module) => module.OptionsDialog), { over: true });

export function OptionsButton() {
  const [open, setOpen] = useState(false);
  const differs = Object.keys(threadOptions.value).length > 0;
  const label = t(differs ? "options.changed" : "options.open");
  return html`
    <button
      type="button" class=${differs ? "icon-button on" : "icon-button"} aria-label=${label} title=${label}
      aria-haspopup="dialog" onClick=${() => setOpen(true)}
    ><${Icon} name="options" /></button>
    ${open && html`<${OptionsDialog} differs=${differs} onClose=${() => setOpen(false)} />`}
  `;
}
