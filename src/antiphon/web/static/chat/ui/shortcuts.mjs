/** Keyboard shortcuts, and the sheet that lists them. */
import { html, signal, useEffect, useRef } from "../vendor/ui.mjs";
import { SHORTCUTS, shortcutFor, keyLabels } from "../shortcuts.mjs";
import { t } from "../t.mjs";
import { Dialog } from "./dialog.mjs";

/** @typedef {import("../shortcuts.mjs").Shortcut} Shortcut */

const helpOpen = signal(false);

/** Opens the sheet that tells the keys. */
function openHelp() {
  helpOpen.value = true;
}

/**
 * Listens to the keys; once in the page. What has no action here is left to the browser, and so is
 * all while a dialog is open. An action that returns false had nothing to do: the key is left too.
 *
 * @param {Partial<Record<Shortcut, () => unknown>>} actions
 */
export function useShortcuts(actions) {
  const latest = useRef(actions);
  latest.current = { help: openHelp, approval: focusApproval, compose: focusComposerField, ...actions };
  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.defaultPrevented || document.querySelector("dialog[open], [popover]:popover-open")) return;
      const id = shortcutFor(event, isTyping(event.target));
      const action = id && latest.current[id];
      if (action && action() !== false) event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}

/** The sheet; once in the page. */
export function Help() {
  if (!helpOpen.value) return null;
  const close = () => {
    helpOpen.value = false;
  };
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const rows = [...new Set(SHORTCUTS.map((each) => each.id))];
  return html`<${Dialog} title=${t("shortcuts.title")} onClose=${close}>
    <dl class="shortcuts">
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

/** To the question that is open: the card itself, so that no key that comes right behind is an answer. */
function focusApproval() {
  const question = document.querySelector(".approval[data-open]");
  if (question instanceof HTMLElement) question.focus();
  return Boolean(question);
}

function focusComposerField() {
  const composer = document.getElementById("composer");
  composer?.focus();
  return Boolean(composer);
}

/** @param {EventTarget | null} target */
const isTyping = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button])"));
