/** State of the sidebar, open or not, and the buttons of a top bar that depend on it. */
import { newThread } from "../conversation_actions.mjs";
import { beginsInFolder } from "../store.mjs";
import { t } from "../t.mjs";
import { html, signal } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";

const NARROW = "(width <= 48rem)";

/** True if the window has no room for the sidebar beside the view. */
export const narrow = signal(typeof window !== "undefined" && window.matchMedia(NARROW).matches);

/** True if the sidebar is open: beside the view, or over it on a phone. */
export const sidebarOpen = signal(!narrow.value);

if (typeof window !== "undefined") {
  let beside = true;
  window.matchMedia(NARROW).addEventListener("change", ({ matches }) => {
    narrow.value = matches;
    if (matches) beside = sidebarOpen.value;
    sidebarOpen.value = !matches && beside; // over the view, it would cover what is read
  });
}

export function toggleSidebar() {
  sidebarOpen.value = !sidebarOpen.value;
}

/** Opens the sidebar and puts the cursor where threads are searched. */
export function searchThreads() {
  sidebarOpen.value = true;
  requestAnimationFrame(() => document.querySelector(".sidebar input[type=search]")?.focus());
}

/** Closes the sidebar where it covers the view. */
export function closeOnPhone() {
  if (narrow.value) sidebarOpen.value = false;
}

/** Button that opens the sidebar, first in every top bar; hidden while the sidebar is open. */
export function MenuButton() {
  if (sidebarOpen.value && !narrow.value) return null;
  return html`<button
    type="button" class="icon-button menu-button" aria-label=${t("sidebar.open")} title=${t("sidebar.open")}
    aria-expanded=${sidebarOpen.value} aria-controls="sidebar" onClick=${toggleSidebar}
  ><${Icon} name="sidebar" /></button>`;
}

/** Button that begins a chat, last in every top bar; hidden where the sidebar has one in view. */
export function NewThreadButton() {
  if (sidebarOpen.value && !narrow.value) return null;
  return html`<button
    type="button" class="icon-button" aria-label=${t("sidebar.new")} title=${t("sidebar.new")} onClick=${beginThread}
  ><${Icon} name="compose" /></button>`;
}

/** Begins a chat, with the cursor where it is written; a phone would open its keyboard over the starters. */
function beginThread() {
  beginsInFolder.value = null;
  newThread();
  if (window.matchMedia("(hover: hover)").matches) document.getElementById("composer")?.focus();
}
