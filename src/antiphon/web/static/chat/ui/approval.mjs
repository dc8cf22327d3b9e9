/** Question about a tool call: shows exactly the arguments that will run, and ignores accidental answers. */
import { html, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/ui.mjs";
import { editedArguments, jsonError, isMeant } from "../answer_checks.mjs";
import { splitToolName } from "../calls.mjs";
import { layOutForEditor } from "../json.mjs";
import { me } from "../store.mjs";
import { tCount, language, t } from "../t.mjs";
import { announce } from "./announce.mjs";
import { Arguments, ArgumentNames, hidesSomething, useSeenHeight } from "./arguments.mjs";
import { Icon } from "./icons.mjs";
import { Notice } from "./notice.mjs";
import { Plain } from "./plain.mjs";
import { Word } from "./word.mjs";

/**
 * @typedef {object} Answer
 * @property {boolean} approved
 * @property {"once" | "session" | "always"} [keep]
 * @property {"tool" | "server"} [scope]
 * @property {string} [arguments]  JSON, where they were edited
 * @property {string} [reason]  a word to the model
 */

/** Time at which a question last left the page, which moves the layout below it. */
let answered = -Infinity;

/** Time at which text was last typed or pasted outside of a question, and not sent. */
let typed = -Infinity;

document.addEventListener("input", ({ target }) => {
  if (target instanceof HTMLElement && !target.closest(".approval")) typed = "value" in target && target.value ? performance.now() : -Infinity;
}, true);
document.addEventListener("keydown", ({ key, shiftKey, target }) => {
  if (key === "Enter" && !shiftKey && target instanceof HTMLTextAreaElement) typed = -Infinity;
}, true);

/**
 * One question. `data` is that of its part; `onAnswer` sends the answer, and rejects with a problem if it
 * is refused. Of several questions one is `open`, the others are a line; `onOpen` opens one. `alike` of
 * them are about this tool: `onNext` opens one that was not seen whole yet, and once all were,
 * `onAllowAll` allows them.
 *
 * @typedef {object} Props
 * @property {any} data
 * @property {string} model  that asks, where there are two
 * @property {boolean} open
 * @property {boolean} isSeen
 * @property {number} alike
 * @property {() => void} onSeen  all of the arguments were in view
 * @property {() => void} [onNext]
 * @property {() => void} onOpen
 * @property {(answer: Answer) => Promise<unknown>} onAnswer
 * @property {() => Promise<unknown>} onAllowAll
 *
 * @param {Props} props
 */
export function Approval({ data, model, open, isSeen, alike, onSeen, onNext, onOpen, onAnswer, onAllowAll }) {
  const asked = data.arguments || JSON.stringify(data.input ?? {});
  const [written, setWritten] = useState(/** @type {string | null} */ (null));
  const [reason, setReason] = useState("");
  const [scope, setScope] = useState(/** @type {"tool" | "server"} */ ("tool"));
  const [isLonger, setLonger] = useState(false);
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const seen = useSeenHeight(data.approvalId, written !== null);
  const guard = useGuard(`${data.argsHash ?? data.approvalId}:${open}:${seen.all}:${onNext === undefined}`);
  const element = useRef(null);
  const [title, longer] = [useId(), useId()];
  const wrong = written === null ? null : jsonError(written);
  useAnnouncement(data);
  useFocusHandover(element);
  useEffect(() => {
    if (open && seen.all && written === null) onSeen();
  }, [open, seen.all, written === null, data.argsHash]);

  const send = (/** @type {() => Promise<unknown>} */ work) => async (/** @type {MouseEvent} */ event) => {
    if (sending || !guard(event)) return;
    setSending(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(error);
      setSending(false);
    }
  };
  const answer = (/** @type {Answer} */ said) => send(() => onAnswer(said));
  const yes = (/** @type {Answer["keep"]} */ keep) =>
    answer({ approved: true, keep, scope: keep === "once" ? "tool" : scope, arguments: written === null || wrong !== null ? undefined : editedArguments(written, asked) });

  if (!open) return html`<${Line} data=${data} model=${model} isSeen=${isSeen} onOpen=${onOpen} />`;
  // While it is sent its buttons keep the focus, which a disabled one would lose.
  const stuck = wrong !== null || !seen.all;
  return html`<section class="approval" ref=${element} role="group" tabindex="-1" aria-labelledby=${title} aria-busy=${sending} data-open data-risk=${riskOf(data)} data-approval=${data.toolCallId}>
    <${Head} data=${data} id=${title} text=${asked} edited=${written !== null && wrong === null && editedArguments(written, asked) !== undefined} />
    <div class="approval-body" ref=${seen.body} role="region" tabindex="0" aria-label=${t("tool.arguments")}>
      ${data.description && html`<div class="approval-says"><span>${t("approval.says")}</span><${Plain} text=${data.description.trim()} judged name=${`approval:${data.approvalId}:says`} limit=${200} lines=${2} /></div>`}
      ${written === null
        ? html`<${Arguments} text=${asked} name=${`approval:${data.approvalId}`} seen=${seen} onEdit=${() => setWritten(layOutForEditor(asked))} />`
        : html`<${Editor} text=${written} wrong=${wrong} onInput=${setWritten} onUndo=${() => setWritten(null)} />`}
      <label class="approval-reason">
        <span class="visually-hidden">${t("approval.reason")}</span>
        <input class="input" type="text" maxlength="2000" value=${reason} placeholder=${t("approval.reason")} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} />
      </label>
    </div>
    ${problem && html`<${Notice} bad role="alert" text=${problem.status === 404 ? t("approval.answered_elsewhere") : problem.message} />`}
    <div class="approval-answers">
      ${!seen.all && html`<button type="button" class="button" onClick=${seen.more}><${Icon} name="down" size=${18} />${t("approval.more")}</button>`}
      <button type="button" class="button primary" disabled=${stuck} title=${seen.all ? undefined : t("approval.unseen")} onClick=${yes("once")}><${Icon} name="check" size=${18} />${t("approval.once")}</button>
      ${alike > 1 && written === null && (onNext
        ? html`<button type="button" class="button" disabled=${stuck} onClick=${onNext}>${t("approval.next")}</button>`
        : html`<button type="button" class="button" disabled=${stuck} onClick=${send(onAllowAll)}>${t("approval.allow_all", { count: alike })}</button>`)}
      <button type="button" class="button" onClick=${answer({ approved: false, reason: reason.trim() || undefined })}>
        <${Icon} name="close" size=${18} />${t(reason.trim() ? "approval.deny_and_say" : "approval.deny")}
      </button>
      ${!data.eachTime && html`<button type="button" class="button quiet longer" aria-expanded=${isLonger} aria-controls=${isLonger ? longer : undefined} onClick=${() => setLonger(!isLonger)}>
        ${t("approval.longer")}<${Icon} name=${isLonger ? "down" : "right"} size=${16} />
      </button>`}
    </div>
    ${isLonger && html`<${LastingAnswer} id=${longer} data=${data} scope=${scope} onScope=${setScope} disabled=${stuck} yes=${yes} />`}
  </section>`;
}

/** Returns how much a call may do, as its tool says: the colours of its question. @param {any} data */
const riskOf = (data) => (data.destructive ? "high" : data.readOnly ? "low" : "some");

/** A question that is not open. @param {{data: any, model: string, isSeen: boolean, onOpen: () => void}} props */
function Line({ data, model, isSeen, onOpen }) {
  return html`<section class="approval line" data-risk=${riskOf(data)} data-approval=${data.toolCallId}>
    <button type="button" class="button quiet" onClick=${onOpen}>
      <${Icon} name=${data.destructive ? "warn" : "tool"} size=${16} /><span class="clipped">${t("approval.title")}${" "}<${Word} text=${splitName(data).own} judged most=${40} /></span>${model && html`<span class="muted small clipped">${model}</span>`}${isSeen && html`<span class="muted small">${t("approval.seen")}</span>`}<${Place} data=${data} />
    </button>
  </section>`;
}

/** @param {{data: any}} props */
const Place = ({ data }) => data.of > 1 && html`<span class="badge">${t("approval.place", { place: data.place, of: data.of })}</span>${" "}`;

/** Heading: tool, server, and names of the arguments. @param {{data: any, id: string, text: string, edited: boolean}} props */
function Head({ data, id, text, edited: changed }) {
  const { own, server } = splitName(data);
  const hides = useMemo(() => hidesSomething(text), [text]);
  const until = data.expiresAt && data.expiresAt - Date.now() < 86_400_000 ? new Intl.DateTimeFormat(language.value, { timeStyle: "short" }).format(data.expiresAt) : null;
  const head = useRef(/** @type {HTMLElement | null} */ (null));
  const overflows = useOverflow(head);
  return html`<header class="approval-head" ref=${head} ...${overflows ? { tabIndex: 0, role: "group", "aria-labelledby": id } : {}}>
    <span class="approval-sign" aria-hidden="true"><${Icon} name=${data.destructive ? "warn" : "tool"} size=${22} /></span>
    <div class="approval-words">
      <p class="approval-title" id=${id}>${t(changed ? "approval.title_edited" : "approval.title")}${" "}<strong><${Word} text=${own} judged /></strong>${" "}<span class="approval-origin">${server ? html`${t("approval.of_server")} <${Word} text=${server} judged />` : t("approval.of_program")}</span></p>
      <${ArgumentNames} text=${text} />
    </div>
    <p class="approval-facts">
      <${Place} data=${data} />
      ${data.readOnly && html`<span class="badge good">${t("approval.read_only")}</span>`}
      ${until && html`<span class="muted small">${t("approval.until", { time: until })}</span>`}
    </p>
    ${data.destructive && html`<${Warning}>${t("approval.destructive")}<//>`}
    ${data.changed && html`<${Warning}>${t("approval.changed")}<//>`}
    ${data.elsewhere && html`<${Warning}>${t("approval.elsewhere")}<//>`}
    ${data.hookReason && html`<${Warning}>${t("approval.hook")} <${Word} text=${data.hookReason} judged /><//>`}
    ${hides && html`<${Warning}>${t("approval.hides")}<//>`}
  </header>`;
}

/** Returns true while an element is higher than its place, so that it has to scroll by keys too. @param {{current: HTMLElement | null}} element */
function useOverflow(element) {
  const [overflows, setOverflows] = useState(false);
  useLayoutEffect(() => {
    const outer = element.current;
    if (!outer) return undefined;
    const look = () => setOverflows(outer.scrollHeight > outer.clientHeight);
    const sizes = new ResizeObserver(look);
    for (const each of [outer, ...outer.children]) sizes.observe(each);
    return () => sizes.disconnect();
  });
  return overflows;
}

/** @param {{children?: any}} props */
const Warning = ({ children }) => html`<p class="approval-warning"><${Icon} name="warn" size=${16} /><span>${children}</span></p>`;

/** @param {{text: string, wrong: string | null, onInput: (text: string) => void, onUndo: () => void}} props */
function Editor({ text, wrong, onInput, onUndo }) {
  const id = useId();
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  // Before the next key is heard: it may be for the field already.
  useLayoutEffect(() => field.current?.focus(), []);
  return html`<div class="approval-arguments">
    <div class="row apart">
      <label class="tool-label" for=${id}>${t("approval.edited_arguments")}</label>
      <button type="button" class="button quiet small" onClick=${onUndo}>${t("approval.undo")}</button>
    </div>
    <textarea
      id=${id} ref=${field} class="input approval-editor" spellcheck="false" autocomplete="off" rows=${Math.min(16, text.split("\n").length + 1)}
      aria-invalid=${wrong !== null} aria-describedby=${`${id}-wrong`} value=${text}
      onInput=${(/** @type {any} */ event) => onInput(event.currentTarget.value)}
    ></textarea>
    <p id=${`${id}-wrong`} class="approval-wrong" aria-live="polite">${wrong === null ? "" : wrong ? t("approval.no_json", { why: wrong }) : t("approval.no_object")}</p>
  </div>`;
}

/**
 * Lasting approval, for this tool or for all of its server, with a button to confirm it.
 *
 * @param {{id: string, data: any, scope: string, disabled: boolean, onScope: (scope: "tool" | "server") => void, yes: (keep: Answer["keep"]) => (event: MouseEvent) => unknown}} props
 */
function LastingAnswer({ id, data, scope, disabled, onScope, yes }) {
  const [keep, setKeep] = useState(/** @type {"session" | "always" | null} */ (null));
  const panel = useRef(/** @type {HTMLElement | null} */ (null));
  const { own, server } = splitName(data);
  const others = data.others ?? [];
  useEffect(() => panel.current?.lastElementChild?.scrollIntoView({ block: "nearest" }), [keep]);
  const choose = (/** @type {"session" | "always"} */ wanted) => () => setKeep(wanted);
  return html`<div class="approval-longer" id=${id} ref=${panel}>
      ${others.length > 0 &&
      html`<fieldset>
        <legend class="visually-hidden">${t("approval.scope")}</legend>
        <label class="check"><input type="radio" name=${id} checked=${scope === "tool"} onChange=${() => (onScope("tool"), setKeep(null))} /><span>${t("approval.this_tool")}</span></label>
        <label class="check"><input type="radio" name=${id} checked=${scope === "server"} onChange=${() => (onScope("server"), setKeep(null))} />
          <span>${tCount("approval.all_tools", others.length + 1)}${" "}<${Word} text=${server} judged /><span class="muted small approval-others">${others.slice(0, 12).map((/** @type {string} */ name, /** @type {number} */ place) => html`${place > 0 && ", "}<${Word} text=${splitToolName(name, known()).own} judged />`)}${others.length > 12 && " …"}</span></span>
        </label>
      </fieldset>`}
      <div class="row">
        <button type="button" class="button small" disabled=${disabled} aria-pressed=${keep === "session"} onClick=${choose("session")}>${t("approval.session")}</button>
        <button type="button" class="button small" disabled=${disabled} aria-pressed=${keep === "always"} onClick=${choose("always")}>${t("approval.always")}</button>
      </div>
      ${keep && html`<${Confirm} keep=${keep} what=${scope === "server" ? server : own} askedBy=${data.askedBy} destructive=${data.destructive} onYes=${yes(keep)} disabled=${disabled} />`}
    </div>`;
}

/** The second button, which says what would be allowed. @param {{keep: "session" | "always", what: string, askedBy?: string, destructive: boolean, disabled: boolean, onYes: (event: MouseEvent) => unknown}} props */
function Confirm({ keep, what, askedBy, destructive, disabled, onYes }) {
  const guard = useGuard(keep);
  return html`<div class="approval-confirm" role="group" aria-live="polite">
    <p>${t(`approval.lasting_${keep}`)} <strong><${Word} text=${what} judged /></strong>${askedBy && html` ${t("approval.asked_by")} <strong><${Word} text=${askedBy} judged /></strong>`}</p>
    ${destructive && html`<${Warning}>${t("approval.destructive")}<//>`}
    <button type="button" class="button small primary" disabled=${disabled} onClick=${(/** @type {MouseEvent} */ event) => guard(event) && onYes(event)}>${t(`approval.confirm_${keep}`)}</button>
  </div>`;
}

/**
 * Returns a check if a click may be an answer: not before there was time to read, not while the page is
 * hidden, and not for the repeats of a held key.
 *
 * @param {string} question
 */
function useGuard(question) {
  const appeared = useRef(Infinity);
  const repeated = useRef(false);
  useLayoutEffect(() => {
    const seen = () => {
      if (document.visibilityState === "visible") appeared.current = performance.now();
    };
    const keyed = (/** @type {KeyboardEvent} */ event) => {
      repeated.current = event.repeat;
    };
    seen();
    document.addEventListener("visibilitychange", seen);
    document.addEventListener("keydown", keyed, true);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      document.removeEventListener("keydown", keyed, true);
    };
  }, [question]);
  return (/** @type {MouseEvent} */ event) =>
    isMeant({
      now: performance.now(),
      appeared: appeared.current,
      moved: answered,
      typed,
      repeated: event.detail === 0 && repeated.current,
      clicks: event.detail,
    });
}

/** Announces the question once. @param {any} data */
function useAnnouncement(data) {
  useEffect(() => {
    if (data.state === "requested") announce(t("approval.spoken", { tool: splitName(data).own }));
  }, [data.approvalId]);
}

/**
 * Moves the keyboard focus from an answered question to the next one, or to the composer, instead of
 * losing it to the top of the page.
 *
 * @param {{current: HTMLElement | null}} element
 */
function useFocusHandover(element) {
  useLayoutEffect(() => {
    return () => {
      const own = element.current;
      answered = performance.now();
      if (!own?.contains(document.activeElement)) return;
      queueMicrotask(() => {
        const to = document.querySelector(".approval[data-open]") ?? document.getElementById("composer");
        if (to instanceof HTMLElement) to.focus();
      });
    };
  }, []);
}

/** @param {any} data @returns {{own: string, server: string}} */
function splitName(data) {
  const { own, server } = splitToolName(data.toolName, known());
  return { own, server: data.server ?? server };
}

const known = () => me.value?.tools ?? [];
