/** Keyboard shortcuts, and which of the page's dialogs are open. */
import { shortcutFor } from "../shortcuts.mjs";
import { signal, useEffect, useRef } from "../vendor/ui.mjs";

/** @typedef {import("../shortcuts.mjs").Shortcut} Shortcut */

/** True while the sheet that lists the keys is open. */
export const helpOpen = signal(false);

/** True while the settings are open. */
export const settingsOpen = signal(false);

export function openSettings() {
  settingsOpen.value = true;
}

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
