/** Sheet that lists the keyboard shortcuts. */
import { SHORTCUTS, keyLabels } from "../shortcuts.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";

/** @param {{onClose: () => void}} props */
export function Help({ onClose }) {
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const rows = [...new Set(SHORTCUTS.map((each) => each.id))];
  return html`<${Dialog} title=${t("shortcuts.title")} onClose=${onClose}>
    <dl class="shortcuts" tabindex="0" aria-label=${t("shortcuts.title")}>
      ${rows.map(
        (id) => html`<div key=${id}>
          <dt>${t(`shortcuts.${id}`)}</dt>
          <dd>${SHORTCUTS.filter((each) => each.id === id).map((each, place) => html`${place > 0 && html` <span class="muted">${t("shortcuts.or")}</span> `}<${Keys} keys=${keyLabels(each, mac)} />`)}</dd>
        </div>`,
      )}
      <div><dt>${t("shortcuts.line")}</dt><dd><${Keys} keys=${[mac ? "⇧" : "Shift", "Enter"]} /></dd></div>
      <div><dt>${t("shortcuts.edit_last")}</dt><dd><${Keys} keys=${["↑"]} /></dd></div>
    </dl>
  <//>`;
}

/** @param {{keys: string[]}} props */
const Keys = ({ keys }) => html`<span class="key-row">${keys.map((key) => html`<kbd key=${key}>${key}</kbd>`)}</span>`;
