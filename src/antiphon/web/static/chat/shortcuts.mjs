/**
 * Keyboard shortcuts of the page.
 *
 * @typedef {"new" | "search" | "compose" | "stop" | "copy" | "sidebar" | "settings" | "approval" | "help"} Shortcut
 * @typedef {{id: Shortcut, key: string, control?: boolean, shift?: boolean, typing?: boolean}} Keys
 *
 * `control`: with Ctrl, or the command key of a Mac. `shift` is not asked of signs that some keyboards
 * write with it. `typing` false: not while something is being written.
 */

/** @type {readonly Keys[]} */
export const SHORTCUTS = [
  { id: "new", key: "o", control: true, shift: true },
  { id: "search", key: "k", control: true, shift: false },
  { id: "compose", key: "Escape", shift: true },
  { id: "stop", key: "Escape", shift: false },
  { id: "copy", key: "c", control: true, shift: true },
  { id: "approval", key: "e", control: true, shift: true },
  { id: "sidebar", key: "s", control: true, shift: true },
  { id: "settings", key: ",", control: true },
  { id: "help", key: "/", control: true },
  { id: "help", key: "?", typing: false },
];

/**
 * Returns the shortcut of a key press, or null.
 *
 * @param {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean, isComposing?: boolean, repeat?: boolean}} pressed
 * @param {boolean} typing true if it went to a field
 * @returns {Shortcut | null}
 */
export function shortcutFor(pressed, typing) {
  if (pressed.isComposing || pressed.altKey || pressed.repeat) return null;
  const key = pressed.key.length === 1 ? pressed.key.toLowerCase() : pressed.key;
  const control = pressed.ctrlKey || pressed.metaKey;
  const found = SHORTCUTS.find(
    (each) =>
      each.key === key &&
      (each.control ?? false) === control &&
      (each.shift === undefined || each.shift === pressed.shiftKey) &&
      !(typing && each.typing === false),
  );
  return found?.id ?? null;
}

/** Returns the labels of a shortcut's keys. @param {Keys} keys @param {boolean} mac */
export function keyLabels({ key, control, shift }, mac) {
  const names = /** @type {Record<string, string>} */ ({ Escape: "Esc" });
  return [control && (mac ? "⌘" : "Ctrl"), shift && (mac ? "⇧" : "Shift"), names[key] ?? key.toUpperCase()].filter(
    (name) => typeof name === "string",
  );
}
