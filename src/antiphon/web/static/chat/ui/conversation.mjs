/** The open conversation: messages, unsent messages, and the composer. */
import { loadEarlier, loadUpTo, send } from "../conversation_actions.mjs";
import { findDivision } from "../division.mjs";
import { draftOf, storeDraft } from "../drafts.mjs";
import { withAnswer } from "../history.mjs";
import { asMessage, isLast } from "../outbox.mjs";
import { besideOf, threadOf } from "../router.mjs";
import { isHere, personId, currentTitle } from "../send.mjs";
import { brokenServers } from "../servers.mjs";
import { beginsInFolder, BESIDE, compareWith, current, foundMessage, MAIN, opening, path, pending, phase, problem } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useLayoutEffect, useRef } from "../vendor/ui.mjs";
import { Composer } from "./composer.mjs";
import { laterView } from "./later_view.mjs";
import { Approvals, Assistant, Person } from "./messages.mjs";
import { Notice } from "./notice.mjs";
import { Starters, SystemPrompt } from "./picker.mjs";
import { Lightbox } from "./pictures.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";
import { Latest, useStick } from "./stick.mjs";
import { TemporaryMark, TemporarySwitch } from "./temporary.mjs";
import { OptionsButton } from "./thread_options.mjs";
import { ThreadUsage } from "./usage.mjs";

const FolderMark = laterView(() => import("./folders.mjs").then((module) => module.FolderMark), { silent: true });
const Beside = laterView(() => import("./beside.mjs").then((module) => module.Beside));
const CompareNote = laterView(() => import("./compare_note.mjs").then((module) => module.CompareNote), { silent: true });
const ServersNote = laterView(() => import("./servers_note.mjs").then((module) => module.ServersNote), { silent: true });

/** Milliseconds without movement after which scrolling is over. */
const STILL_MS = 300;

/** Distance above the view at which earlier messages are loaded. */
const EARLY = "1200px 0px 0px 0px";

/** @typedef {import("../history.mjs").Message} Message */

export function Conversation() {
  const scroll = useRef(/** @type {HTMLElement | null} */ (null));
  const rows = useRows();
  const thread = current.value?.thread ?? null;
  const beside = besideOf(path.value);
  const other = BESIDE.current.value;
  const stick = useStick(scroll, rows.length + (other?.messages.length ?? 0), thread?.id ?? null);
  useStoredScroll(scroll, thread?.id ?? null);
  useSought(stick);
  const empty = rows.length === 0 && opening.value === null;
  return html`
    <div class="topbar">
      <${MenuButton} />
      ${thread ? html`<h1 class="topbar-title clipped grow" dir="auto">${currentTitle() || t("threads.untitled")}</h1>` : html`${!empty && html`<h1 class="visually-hidden">${t("chat.label")}</h1>`}<span class="grow"></span>`}
      <${ThreadUsage} messages=${[...(current.value?.messages ?? []), ...(other?.messages ?? [])]} />
      <${OptionsButton} />
      <${SystemPrompt} />
      <${NewThreadButton} />
    </div>
    <div class="conversation" id="conversation" ref=${scroll} tabindex="0" role="region" aria-label=${t("chat.label")} aria-busy=${phase.value !== "idle" || BESIDE.phase.value !== "idle"}>
      <div class=${beside ? "messages two" : "messages"}>
        ${current.value?.hasEarlier && html`<${Earlier} root=${scroll} first=${current.value.messages[0]?.id} />`}
        ${empty && thread === null && threadOf(path.value) === null && html`<${Starters} onPick=${(/** @type {string} */ text) => send({ text })}><${TemporarySwitch} /><//>`}
        ${beside ? html`<${Beside} />` : rows}
        <${Trouble} />
      </div>
    </div>
    <div class="conversation-foot">
      <${Latest} stick=${stick} />
      ${brokenServers.value.length > 0 && html`<${ServersNote} />`}
      ${(beside ? findDivision() : compareWith.value) && html`<${CompareNote} />`}
      <${Approvals} />
      ${(current.value ? current.value.thread.folder_id : beginsInFolder.value) && html`<${FolderMark} />`}
      <${TemporaryMark} />
      ${!(beside && findDivision() === null) && html`<${Composer} onSent=${() => stick.toEnd()} />`}
    </div>
    <${Lightbox} />`;
}

/** Returns a function that makes a value for an object once, and returns the same value later. */
export function useObjectCache() {
  const made = useRef(/** @type {WeakMap<object, any>} */ (new WeakMap()));
  return (/** @type {object} */ of, /** @type {() => any} */ make) => {
    const before = made.current.get(of);
    if (before) return before;
    const now = make();
    made.current.set(of, now);
    return now;
  };
}

/** Returns the rows of the messages, redrawn only if the message has changed. */
function useRows() {
  const row = useObjectCache();
  const { before, now, entries } = messagesAt(MAIN);
  return [
    ...before.map((message) => row(message, () => savedRow(message))),
    ...(now ? [row(now, () => liveRow(now))] : []),
    ...entries.map((entry) => row(entry, () => pendingRow(entry))),
  ];
}

/**
 * Returns what a pane shows: messages, the one in progress, and unsent ones.
 *
 * @param {import("../store.mjs").Pane} at
 */
export function messagesAt(at) {
  const messages = at.current.value?.messages ?? [];
  const { before, now } = at.live.value ? withAnswer(messages, at.live.value) : { before: messages, now: null };
  return { before, now, entries: pending.value.filter((entry) => isHere(entry, at) && !isLast(entry, messages)) };
}

/** @param {Message} message */
export const liveRow = (message) => html`<${Assistant} key=${message.id} message=${message} live=${true} />`;

/** @param {Message} message */
export const savedRow = (message) =>
  message.role === "user"
    ? html`<${Person} key=${message.key ?? message.id} message=${message} />`
    : html`<${Assistant} key=${message.id} message=${message} live=${false} />`;

/** @param {import("../outbox.mjs").Entry} entry */
const pendingRow = (entry) => html`<${Person} key=${entry.id} message=${asMessage(entry)} entry=${entry} />`;

/** Loads earlier messages when the reader comes near the first. @param {{root: {current: HTMLElement | null}, first: string | undefined}} props */
function Earlier({ root, first }) {
  const mark = useRef(null);
  useEffect(() => {
    const near = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && void keepScrollPosition(root.current), {
      root: root.current,
      rootMargin: EARLY,
    });
    if (mark.current) near.observe(mark.current);
    return () => near.disconnect();
  }, [first]);
  return html`<div class="earlier" ref=${mark}><span class="spinner" aria-hidden="true"></span></div>`;
}

/** Keeps the scroll position while earlier messages are added above. @param {HTMLElement | null} scroll */
async function keepScrollPosition(scroll) {
  const first = current.value?.messages[0];
  const mark = first && document.querySelector(`[data-message="${CSS.escape(first.id)}"]`);
  const before = mark?.getBoundingClientRect().top ?? 0;
  await loadEarlier();
  requestAnimationFrame(() => {
    const moved = (mark?.getBoundingClientRect().top ?? 0) - before;
    // Browsers that anchor by themselves have done it, and nothing has moved.
    if (scroll && mark?.isConnected && Math.abs(moved) > 1) scroll.scrollTop += moved;
  });
}

/** Keeps how far a thread was read, and comes back there. @param {{current: HTMLElement | null}} scroll @param {string | null} thread */
function useStoredScroll(scroll, thread) {
  useLayoutEffect(() => {
    const element = scroll.current;
    if (!element || thread === null || current.value?.thread.temporary) return undefined;
    const { scroll: fromEnd } = draftOf(personId(), thread);
    element.scrollTop = element.scrollHeight - element.clientHeight - (fromEnd ?? 0);
    let timer = 0;
    const note = () => {
      clearTimeout(timer);
      const left = Math.round(element.scrollHeight - element.clientHeight - element.scrollTop);
      timer = window.setTimeout(() => storeDraft(personId(), thread, { scroll: left > 40 ? left : null }), STILL_MS);
    };
    element.addEventListener("scroll", note, { passive: true });
    return () => {
      clearTimeout(timer);
      element.removeEventListener("scroll", note);
    };
  }, [thread]);
}

/** Goes to the message that a search has found, once its thread is open. @param {import("./stick.mjs").Stick} stick */
function useSought(stick) {
  const wanted = foundMessage.value;
  const open = current.value;
  useEffect(() => {
    if (!wanted || open?.thread.id !== wanted.thread) return;
    const message = loadUpTo(wanted.number);
    if (!message) return;
    foundMessage.value = null;
    stick.leave();
    const element = () => document.querySelector(`[data-message="${CSS.escape(message.id)}"]`);
    void import("../found_message.mjs").then(({ showFound }) => requestAnimationFrame(() => showFound(element(), wanted.words)));
  }, [wanted, open?.thread.id, open?.messages]);
}

/** Error of this thread, with a button to retry. */
function Trouble() {
  const trouble = problem.value ?? (BESIDE.current.value && BESIDE.problem.value);
  if (!trouble) return null;
  const again = () => window.location.reload();
  return html`<${Notice} bad role="alert" text=${trouble.message}>
    <button type="button" class="button small" onClick=${again}>${t("common.retry")}</button>
  <//>`;
}
