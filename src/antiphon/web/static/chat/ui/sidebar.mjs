/** Sidebar: what leads to a thread, and links to the other views. */
import { newThread } from "../conversation_actions.mjs";
import { beginsInFolder, marked, me, path, tagCounts, threads } from "../store.mjs";
import { t } from "../t.mjs";
import { loadThreads, searchFor, showThreads } from "../threads.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { Link } from "./link.mjs";
import { openSettings } from "./shortcuts.mjs";
import { closeOnPhone, narrow, sidebarOpen, toggleSidebar } from "./sidebar_state.mjs";
import { ThreadList } from "./thread_list.mjs";

const TYPED_MILLISECONDS = 200;

const MarkedThreads = laterView(() => import("./marked_threads.mjs").then((module) => module.MarkedThreads));

export function Sidebar() {
  const nav = useRef(null);
  const open = sidebarOpen.value;
  useEffect(() => {
    loadThreads();
    // Threads may have changed meanwhile: in the terminal, on the phone.
    window.addEventListener("focus", loadThreads);
    return () => window.removeEventListener("focus", loadThreads);
  }, []);
  useDrawer(nav, open);
  return html`
    <nav id="sidebar" class="sidebar" ref=${nav} aria-label=${t("sidebar.label")} hidden=${!open} onKeyDown=${walkThreads}>
      <div class="sidebar-head">
        <span class="brand clipped">${me.value?.title || "Antiphon"}</span>
        <button
          type="button" class="icon-button" aria-label=${t("sidebar.close")} title=${t("sidebar.close")}
          onClick=${toggleSidebar}
        ><${Icon} name="sidebar" /></button>
      </div>
      <${NewThread} />
      <${Search} />
      <${Filters} />
      <${ThreadList} />
      ${marked.value && html`<${MarkedThreads} ids=${[...marked.value]} />`}
      <${Foot} />
    </nav>
    <div class="scrim" hidden=${!open} onClick=${toggleSidebar}></div>
  `;
}

function NewThread() {
  const begin = () => {
    beginsInFolder.value = null;
    newThread();
    closeOnPhone();
  };
  return html`<button type="button" class="side-link new-thread" onClick=${begin}>
    <${Icon} name="compose" />${t("sidebar.new")}
  </button>`;
}

function Search() {
  const [typed, setTyped] = useState(threads.value.query);
  useEffect(() => {
    if (typed === threads.value.query) return undefined;
    const wait = setTimeout(() => searchFor(typed), TYPED_MILLISECONDS);
    return () => clearTimeout(wait);
  }, [typed]);
  return html`<div class="side-search" role="search">
    <${Icon} name="search" size=${18} />
    <input
      type="search" class="input" value=${typed} aria-label=${t("sidebar.search")} placeholder=${t("sidebar.search")}
      onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)}
    />
  </div>`;
}

/** The archive, and the tags, of which one at a time filters the list. */
function Filters() {
  const { archived, tag } = threads.value;
  const counts = archived ? tagCounts.value.filter((one) => one.archived > 0) : tagCounts.value.filter((one) => one.threads > 0);
  const shown = tag && !counts.some((one) => one.tag === tag) ? [{ tag }, ...counts] : counts;
  return html`<div class="side-filters" role="group" aria-label=${t("sidebar.filters")}>
    <button
      type="button" class="chip" aria-pressed=${archived} onClick=${() => showThreads({ archived: !archived, tag: "" })}
    ><${Icon} name="archive" size=${16} />${t("sidebar.archive")}</button>
    <button
      type="button" class="chip" aria-pressed=${marked.value !== null}
      onClick=${() => (marked.value = marked.value ? null : new Set())}
    ><${Icon} name="check" size=${16} />${t("sidebar.select")}</button>
    ${shown.map(
      (one) => html`<button
        type="button" class="chip" key=${one.tag} aria-pressed=${one.tag === tag} dir="auto"
        onClick=${() => showThreads({ tag: one.tag === tag ? "" : one.tag })}
      >${one.tag}</button>`,
    )}
  </div>`;
}

function Foot() {
  const person = me.value?.person;
  const settle = () => {
    closeOnPhone();
    openSettings();
  };
  const here = (/** @type {string} */ place) => (path.value.startsWith(place) ? "page" : undefined);
  return html`<div class="side-foot">
    <${Link} href="/assistants" class="side-link" aria-current=${here("/assistants")} onFollow=${closeOnPhone}>
      <${Icon} name="assistant" />${t("sidebar.assistants")}
    <//>
    ${person?.role === "admin" &&
    html`<${Link} href="/admin" class="side-link" aria-current=${here("/admin")} onFollow=${closeOnPhone}>
      <${Icon} name="admin" />${t("sidebar.admin")}
    <//>`}
    <button type="button" class="side-link" onClick=${settle}>
      <${Icon} name="settings" /><span class="grow clipped">${t("sidebar.settings")}</span>
      ${me.value?.login !== "none" && person && html`<span class="muted small clipped">${person.name}</span>`}
    </button>
  </div>`;
}

/**
 * Goes through the list of threads by arrow keys: down from the field that searches, up from the
 * first thread back to it.
 *
 * @param {KeyboardEvent} event
 */
function walkThreads(event) {
  const nav = /** @type {HTMLElement} */ (event.currentTarget);
  const stops = /** @type {HTMLElement[]} */ ([...nav.querySelectorAll("input[type=search], .folder-name, .thread > a, .hit > a")]);
  const here = stops.indexOf(/** @type {HTMLElement} */ (event.target));
  const to = { ArrowDown: here + 1, ArrowUp: here - 1 }[event.key];
  if (here < 0 || to === undefined || to < 0 || to >= stops.length || event.isComposing) return;
  event.preventDefault();
  stops[to].focus();
}

/** On a phone the sidebar covers the view: it takes the focus, and Escape closes it. */
function useDrawer(/** @type {{current: HTMLElement | null}} */ nav, /** @type {boolean} */ open) {
  useEffect(() => {
    if (!open || !narrow.value) return undefined;
    const before = document.activeElement;
    const view = document.querySelector("main");
    view?.setAttribute("inert", "");
    nav.current?.querySelector("button")?.focus();
    const pressed = (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && toggleSidebar();
    nav.current?.addEventListener("keydown", pressed);
    return () => {
      view?.removeAttribute("inert");
      nav.current?.removeEventListener("keydown", pressed);
      if (nav.current?.contains(document.activeElement) || document.activeElement === document.body) before?.focus?.();
    };
  }, [open]);
}
