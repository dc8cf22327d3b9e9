/** Sidebar: threads by day, and links to the other views. */
import { groupByDay, keyOf } from "../day_groups.mjs";
import { newThread } from "../conversation_actions.mjs";
import { isUnread, markSeen } from "../unread.mjs";
import { seek } from "../search.mjs";
import { current, found, marked, me, path, phase, tagCounts, threads } from "../store.mjs";
import { language, t, tCount } from "../t.mjs";
import {
  archiveThread,
  changeMany,
  deleteThread,
  deleteThreads,
  exportThread,
  loadThreads,
  moreThreads,
  pinThread,
  renameThread,
  searchFor,
  showThreads,
  tagThread,
} from "../threads.mjs";
import { html, signal, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Menu } from "./menu.mjs";
import { openSettings } from "./settings.mjs";

const NARROW = "(width <= 48rem)";
const TYPED_MILLISECONDS = 200;
const HITS_OF_A_THREAD = 3;

/** True if the window has no room for the sidebar beside the view. */
const narrow = signal(typeof window !== "undefined" && window.matchMedia(NARROW).matches);

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

/**
 * Goes through the list of threads by arrow keys: down from the field that searches, up from the
 * first thread back to it.
 *
 * @param {KeyboardEvent} event
 */
function walkThreads(event) {
  const nav = /** @type {HTMLElement} */ (event.currentTarget);
  const stops = /** @type {HTMLElement[]} */ ([...nav.querySelectorAll("input[type=search], .thread > a, .hit > a")]);
  const here = stops.indexOf(/** @type {HTMLElement} */ (event.target));
  const to = { ArrowDown: here + 1, ArrowUp: here - 1 }[event.key];
  if (here < 0 || to === undefined || to < 0 || to >= stops.length || event.isComposing) return;
  event.preventDefault();
  stops[to].focus();
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
  newThread();
  if (window.matchMedia("(hover: hover)").matches) document.getElementById("composer")?.focus();
}

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
      <${Threads} />
      ${marked.value && html`<${MarkedThreads} ids=${[...marked.value]} />`}
      <${Foot} />
    </nav>
    <div class="scrim" hidden=${!open} onClick=${toggleSidebar}></div>
  `;
}

function NewThread() {
  const begin = () => {
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

/** What can be done with the threads that are marked. @param {{ids: string[]}} props */
function MarkedThreads({ ids }) {
  const [step, setStep] = useState("");
  const { data, archived } = threads.value;
  const end = () => (marked.value = null);
  const change = (/** @type {{action: string, tags?: string[]}} */ wanted) => {
    void changeMany(ids, wanted);
    end();
  };
  const tag = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const written = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("tags");
    const tags = String(written).split(",").map((each) => each.trim()).filter(Boolean);
    if (tags.length > 0) change({ action: "tag", tags });
  };
  const none = ids.length === 0;
  return html`<div class="side-marked" role="group" aria-label=${tCount("sidebar.selected", ids.length)}>
    <p class="small" role="status">${tCount("sidebar.selected", ids.length)}</p>
    <button
      type="button" class="button quiet small"
      onClick=${() => (marked.value = new Set(data.map((/** @type {{id: string}} */ one) => one.id)))}
    >${t("sidebar.select_all")}</button>
    <button
      type="button" class="button quiet small" disabled=${none}
      onClick=${() => change({ action: archived ? "unarchive" : "archive" })}
    >${t(archived ? "threads.unarchive" : "threads.archive")}</button>
    <button type="button" class="button quiet small" disabled=${none} onClick=${() => setStep("tag")}>${t("threads.tags")}</button>
    <button type="button" class="button quiet small danger" disabled=${none} onClick=${() => setStep("delete")}>${t("threads.delete")}</button>
    <button type="button" class="button quiet small" onClick=${end}>${t("common.cancel")}</button>
    ${step === "tag" &&
    html`<form class="side-tags" onSubmit=${tag}>
      <input class="input" name="tags" maxlength="700" dir="auto" aria-label=${t("threads.tags_field")} placeholder=${t("threads.tags_field")} />
      <button type="submit" class="button small">${t("sidebar.add_tags")}</button>
    </form>`}
    ${step === "delete" &&
    html`<${ConfirmDialog}
      title=${t("sidebar.delete_many")} text=${tCount("sidebar.delete_text", ids.length)} action=${t("threads.delete")}
      onClose=${() => setStep("")}
      onConfirm=${async () => {
        deleteThreads(ids);
        end();
      }}
    />`}
  </div>`;
}

/** Marks a thread, or no longer. */
function mark(/** @type {string} */ id) {
  const ids = new Set(marked.value);
  if (!ids.delete(id)) ids.add(id);
  marked.value = ids;
}

function Threads() {
  const { data, next, query, archived, tag } = threads.value;
  const hits = query ? Map.groupBy(found.value.data, ({ thread_id }) => thread_id) : new Map();
  const listed = new Set((data ?? []).map(({ id }) => id));
  const elsewhere = [...hits.values()].flat().filter(({ thread_id }) => !listed.has(thread_id));
  if (!data?.length && !elsewhere.length) {
    const none = archived ? t("sidebar.nothing_archived") : t("sidebar.nothing_yet");
    const said = query ? t("sidebar.nothing_found", { query }) : tag ? t("sidebar.nothing_tagged", { tag }) : none;
    return html`<div class="threads"><p class="side-empty muted small">${said}</p></div>`;
  }
  return html`<div class="threads" onScroll=${moreAtEnd}>
    ${groups(data, query).map(
      ({ key, title, items }) => html`<section key=${key}>
        <h2>${title}</h2>
        <ul class="thread-list">
          ${items.map((thread) => html`<${ThreadRow} key=${thread.id} thread=${thread} hits=${hits.get(thread.id) ?? []} />`)}
        </ul>
      </section>`,
    )}
    ${elsewhere.length > 0 &&
    html`<section>
      <h2>${t("sidebar.elsewhere")}</h2>
      <ul class="thread-list">${elsewhere.map((hit) => html`<${Hit} key=${hit.id} hit=${hit} titled=${true} />`)}</ul>
    </section>`}
    ${query && found.value.indexing && html`<p class="side-empty muted small">${t("sidebar.indexing", found.value.indexing)}</p>`}
    ${next && html`<button type="button" class="button quiet small more" onClick=${moreThreads}>${t("sidebar.more")}</button>`}
  </div>`;
}

/**
 * The threads under their headings: the pinned ones, then by day. Those that were searched for are
 * all by day.
 *
 * @param {import("../threads.mjs").Thread[]} data
 * @param {string} query
 */
function groups(data, query) {
  const pinned = query ? [] : data.filter((thread) => thread.pinned);
  const others = query ? data : data.filter((thread) => !thread.pinned);
  const byDay = groupByDay(others, new Date()).map(({ day, items }) => ({ key: keyOf(day), title: dayName(day), items }));
  return pinned.length > 0 ? [{ key: "pinned", title: t("threads.pinned"), items: pinned }, ...byDay] : byDay;
}

/** A message with the words of the search; a click leads to it. @param {{hit: import("../search.mjs").FoundMessage, titled?: boolean}} props */
function Hit({ hit, titled = false }) {
  const follow = () => {
    seek(hit);
    closeOnPhone();
  };
  return html`<li class="hit">
    <${Link} href=${`/t/${hit.thread_id}`} onFollow=${follow} dir="auto">
      ${titled && html`<span class="clipped hit-title">${hit.title || t("threads.untitled")}</span>`}
      <span class="hit-text">${hit.snippet.map(([text, highlighted]) => (highlighted ? html`<mark>${text}</mark>` : text))}</span>
    <//>
  </li>`;
}

/** @param {{thread: import("../threads.mjs").Thread, hits: import("../search.mjs").FoundMessage[]}} props */
function ThreadRow({ thread, hits }) {
  const [editing, setEditing] = useState("");
  const title = thread.title || t("threads.untitled");
  const here = current.value?.thread?.id === thread.id || path.value === `/t/${thread.id}`;
  const open = here && thread.id === current.value?.thread?.id;
  useEffect(() => {
    if (open && !thread.running && !document.hidden) markSeen(thread);
  }, [open, thread.messages, thread.running]);
  if (editing) return html`<li><${RowField} thread=${thread} what=${editing} onEnd=${() => setEditing("")} /></li>`;
  const choices = [
    { label: t("threads.rename"), icon: "edit", run: () => setEditing("title") },
    {
      label: t(thread.pinned ? "threads.unpin" : "threads.pin"),
      icon: "pin",
      run: () => pinThread(thread.id, !thread.pinned),
    },
    { label: t("threads.tags"), icon: "tag", run: () => setEditing("tags") },
    {
      label: t(thread.archived ? "threads.unarchive" : "threads.archive"),
      icon: "archive",
      run: () => archiveThread(thread.id, !thread.archived),
    },
    { label: t("threads.export_md"), icon: "export", run: () => exportThread(thread.id, "md") },
    { label: t("threads.export_html"), icon: "export", run: () => exportThread(thread.id, "html") },
    { label: t("threads.export_json"), icon: "export", run: () => exportThread(thread.id, "json") },
    { label: t("threads.delete"), icon: "trash", danger: true, run: () => deleteThread(thread.id) },
  ];
  const row = html`<li class=${here ? "thread here" : "thread"}>
    ${marked.value &&
    html`<input
      type="checkbox" class="thread-mark" checked=${marked.value.has(thread.id)}
      aria-label=${t("threads.select", { title })} onChange=${() => mark(thread.id)}
    />`}
    <${Link}
      href=${`/t/${thread.id}`} class="clipped" dir="auto" title=${title} aria-current=${here ? "page" : undefined}
      onFollow=${closeOnPhone} onDblClick=${() => setEditing("title")}
    >${title}${thread.tags.map((tag) => html`<span class="row-tag" key=${tag}>${tag}</span>`)}<//>
    <${Sign} thread=${thread} here=${here} />
    <${Menu} label=${t("threads.actions", { title })} choices=${choices} />
  </li>`;
  return html`${row}${hits.slice(0, HITS_OF_A_THREAD).map((hit) => html`<${Hit} key=${hit.id} hit=${hit} />`)}`;
}

/** Sign that a thread is running, waiting or unread. @param {{thread: import("../threads.mjs").Thread, here: boolean}} props */
function Sign({ thread, here }) {
  const sign = (/** @type {string} */ name, /** @type {string} */ label) => html`<span class=${`sign ${name}`} role="img" aria-label=${label} title=${label}></span>`;
  if (thread.waiting || (here && phase.value === "asking")) return sign("waits", t("threads.waiting"));
  if (thread.running) return sign("spinner", t("threads.running"));
  if (thread.archived && !threads.value.archived) {
    const label = t("threads.in_archive");
    return html`<span class="sign" role="img" aria-label=${label} title=${label}><${Icon} name="archive" size=${16} /></span>`;
  }
  return !here && isUnread(thread) ? sign("unread", t("threads.unread")) : null;
}

/**
 * Editor of a title, or of tags separated by commas: Enter or leaving the field saves it, Escape does
 * not.
 *
 * @param {{thread: import("../threads.mjs").Thread, what: string, onEnd: () => void}} props
 */
function RowField({ thread, what, onEnd }) {
  const tags = what === "tags";
  const field = useRef(null);
  const ended = useRef(false);
  useEffect(() => {
    field.current.focus();
    field.current.select();
  }, []);
  const end = (/** @type {boolean} */ keep) => {
    if (ended.current) return;
    ended.current = true;
    const written = field.current.value;
    if (keep && tags && written !== thread.tags.join(", ")) tagThread(thread.id, written);
    if (keep && !tags) renameThread(thread.id, written);
    onEnd();
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    end(event.key === "Enter");
  };
  return html`<input
    ref=${field} class="input title-field" maxlength=${tags ? 700 : 200} dir="auto"
    defaultValue=${tags ? thread.tags.join(", ") : thread.title}
    aria-label=${t(tags ? "threads.tags_field" : "threads.title")} onKeyDown=${pressed} onBlur=${() => end(true)}
  />`;
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

function dayName(/** @type {import("../day_groups.mjs").Group<any>["day"]} */ day) {
  if ("name" in day) return t(`days.${day.name}`);
  return new Intl.DateTimeFormat(language.value, { month: "long", year: "numeric" }).format(day.month);
}

function moreAtEnd(/** @type {Event} */ event) {
  const list = /** @type {HTMLElement} */ (event.currentTarget);
  if (list.scrollTop + list.clientHeight > list.scrollHeight - 200) moreThreads();
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

function closeOnPhone() {
  if (narrow.value) sidebarOpen.value = false;
}
