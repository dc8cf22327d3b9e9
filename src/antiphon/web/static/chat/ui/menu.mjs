/** Menu: a button that opens a short list of actions, by mouse, touch or keys. */
import { html, useId, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";

/** @typedef {{label: string, icon?: string, run: () => void, danger?: boolean}} Choice */

/**
 * @param {{label: string, icon?: string, choices: Choice[], className?: string}} props
 */
export function Menu({ label, icon = "more", choices, className = "icon-button" }) {
  const [open, setOpen] = useState(false);
  const button = useRef(null);
  const list = useRef(null);
  const id = useId();
  const toggled = (/** @type {ToggleEvent} */ event) => {
    setOpen(event.newState === "open");
    if (event.newState !== "open") return;
    place(list.current, button.current);
    list.current.firstElementChild?.focus();
  };
  const choose = (/** @type {Choice} */ choice) => {
    list.current.hidePopover();
    button.current.focus();
    choice.run();
  };
  return html`
    <button
      type="button" class=${className} ref=${button} popovertarget=${id} aria-label=${label} title=${label}
      aria-haspopup="menu" aria-expanded=${open} aria-controls=${id}
    ><${Icon} name=${icon} /></button>
    <div
      id=${id} class="menu floating" role="menu" aria-label=${label} popover="auto" ref=${list}
      onToggle=${toggled} onKeyDown=${(/** @type {KeyboardEvent} */ event) => walk(event, list.current)}
    >
      ${choices.map(
        (choice) => html`<button
          type="button" role="menuitem" tabindex="-1" key=${choice.label} class=${choice.danger ? "danger" : ""}
          onClick=${() => choose(choice)}
        >${choice.icon && html`<${Icon} name=${choice.icon} size=${18} />`}${choice.label}</button>`,
      )}
    </div>
  `;
}

/** Places a list below its button, or above it if there is no room, within the window. */
export function place(/** @type {HTMLElement} */ list, /** @type {HTMLElement} */ button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = list;
  const below = at.bottom + 4 + height <= window.innerHeight - 8;
  const left = Math.max(8, Math.min(at.right - width, window.innerWidth - width - 8));
  list.style.left = `${left}px`;
  // Above, its end stays at the button when it grows or shrinks.
  const end = Math.min(window.innerHeight - at.top + 4, window.innerHeight - 8 - height);
  list.style.top = below ? `${at.bottom + 4}px` : "auto";
  list.style.bottom = below ? "auto" : `${Math.max(8, end)}px`;
}

function walk(/** @type {KeyboardEvent} */ event, /** @type {HTMLElement} */ list) {
  const items = /** @type {HTMLElement[]} */ ([...list.children]);
  const here = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Tab") return list.hidePopover();
  // The surroundings handle Esc too; the browser closes the menu.
  if (event.key === "Escape") return event.stopPropagation();
  if (next === undefined) return undefined;
  event.preventDefault();
  return items.at(next % items.length)?.focus();
}
