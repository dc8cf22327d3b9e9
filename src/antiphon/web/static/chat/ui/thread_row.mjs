/** A thread in the list: its title, sign and menu; below it, what a search found in it. */
import { seek } from "../search.mjs";
import { BESIDE, current, marked, moving, path, phase, threads } from "../store.mjs";
import { t } from "../t.mjs";
import { archiveThread, deleteThread, exportThread, pinThread, renameThread, tagThread } from "../threads.mjs";
import { hasNewMessages, markSeen } from "../seen.mjs";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { Link } from "./link.mjs";
import { Menu } from "./menu.mjs";
import { closeOnPhone } from "./sidebar_state.mjs";

const ShareDialog = laterView(() => import("./share_dialog.mjs").then((module) => module.ShareDialog), { over: true, idle: false });
const HITS_OF_A_THREAD = 3;

/** @param {{thread: import("../threads.mjs").Thread, hits: import("../search.mjs").FoundMessage[]}} props */
export function ThreadRow({ thread, hits }) {
  const [editing, setEditing] = useState("");
  const [sharing, setSharing] = useState(false);
  const title = thread.title || t("threads.untitled");
  const open = [current, BESIDE.current].some(({ value }) => value?.thread.id === thread.id);
  const here = open || path.value === `/t/${thread.id}`;
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
    { label: t("folders.move"), icon: "folder", run: () => (moving.value = [thread.id]) },
    { label: t("threads.tags"), icon: "tag", run: () => setEditing("tags") },
    {
      label: t(thread.archived ? "threads.unarchive" : "threads.archive"),
      icon: "archive",
      run: () => archiveThread(thread.id, !thread.archived),
    },
    { label: t("sharing.share"), icon: "share", run: () => setSharing(true) },
    { label: t("threads.export_md"), icon: "export", run: () => exportThread(thread.id, "md") },
    { label: t("threads.export_html"), icon: "export", run: () => exportThread(thread.id, "html") },
    { label: t("threads.export_json"), icon: "export", run: () => exportThread(thread.id, "json") },
    { label: t("threads.delete"), icon: "trash", danger: true, run: () => deleteThread(thread.id) },
  ];
  const row = html`<li class=${here ? "thread here" : "thread"} onClickCapture=${(/** @type {MouseEvent} */ event) => markByLink(event, thread.id)}>
    ${marked.value &&
    html`<input
      type="checkbox" class="thread-mark" checked=${marked.value.has(thread.id)}
      aria-label=${t("threads.select", { title })} onChange=${() => mark(thread.id)}
    />`}
    <${Link}
      href=${`/t/${thread.id}`} dir="auto" title=${title} aria-current=${here ? "page" : undefined}
      onFollow=${closeOnPhone} onDblClick=${() => setEditing("title")}
    ><span class="clipped grow">${title}</span>${thread.tags.length > 0 && html`<span class="row-tags">${thread.tags.map((tag) => html`<span class="row-tag clipped" key=${tag}>${tag}</span>`)}</span>`}<//>
    <${Sign} thread=${thread} here=${here} />
    <${Menu} label=${t("threads.actions", { title })} choices=${choices} />
    ${sharing && html`<${ShareDialog} thread=${thread} onClose=${() => setSharing(false)} />`}
  </li>`;
  return html`${row}${hits.slice(0, HITS_OF_A_THREAD).map((hit) => html`<${Hit} key=${hit.id} hit=${hit} />`)}`;
}

/** A message with the words of the search; a click leads to it. @param {{hit: import("../search.mjs").FoundMessage, titled?: boolean}} props */
export function Hit({ hit, titled = false }) {
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

/** Sign that a thread is running, waiting or unread. @param {{thread: import("../threads.mjs").Thread, here: boolean}} props */
function Sign({ thread, here }) {
  const sign = (/** @type {string} */ name, /** @type {string} */ label) => html`<span class=${`sign ${name}`} role="img" aria-label=${label} title=${label}></span>`;
  if (thread.waiting || (here && phase.value === "asking")) return sign("waits", t("threads.waiting"));
  if (thread.running) return sign("spinner", t("threads.running"));
  if (thread.archived && !threads.value.archived) {
    const label = t("threads.in_archive");
    return html`<span class="sign" role="img" aria-label=${label} title=${label}><${Icon} name="archive" size=${16} /></span>`;
  }
  return !here && hasNewMessages(thread) ? sign("unread", t("threads.unread")) : null;
}

/** While threads are being marked, a click on a thread's link marks it. @param {MouseEvent} event @param {string} id */
function markByLink(event, id) {
  if (marked.value === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = /** @type {Element} */ (event.target).closest("a");
  if (link?.parentElement !== event.currentTarget) return;
  event.preventDefault();
  mark(id);
}

/** Marks a thread, or no longer. */
function mark(/** @type {string} */ id) {
  const ids = new Set(marked.value);
  if (!ids.delete(id)) ids.add(id);
  marked.value = ids;
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
  // Before the next key is heard: it may be for the field already.
  useLayoutEffect(() => {
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
