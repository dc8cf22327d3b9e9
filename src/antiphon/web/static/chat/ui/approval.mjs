/** Asks whether a call may run: what is shown is what runs, and nothing is answered by accident. */
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { edited, fault, isMeant } from "../asking.mjs";
import { toolNamed } from "../calls.mjs";
import { editable } from "../json.mjs";
import { me } from "../store.mjs";
import { counted, language, t } from "../t.mjs";
import { announce } from "./announce.mjs";
import { Icon } from "./icons.mjs";
import { Plain, Word } from "./plain.mjs";

/**
 * @typedef {object} Answer
 * @property {boolean} approved
 * @property {"once" | "session" | "always"} [keep]
 * @property {"tool" | "server"} [scope]
 * @property {string} [arguments]  JSON, where they were edited
 * @property {string} [reason]  a word to the model
 */

/** When a question left the page last, answered here or elsewhere: what stood below it has moved. */
let answered = -Infinity;

/**
 * One question. `data` is that of its part; `onAnswer` sends what was said, and rejects with a problem
 * if that could not be taken.
 *
 * @param {{data: any, onAnswer: (answer: Answer) => Promise<unknown>}} props
 */
export function Approval({ data, onAnswer }) {
  const asked = data.arguments || JSON.stringify(data.input ?? {});
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const [reason, setReason] = useState("");
  const [scope, setScope] = useState(/** @type {"tool" | "server"} */ ("tool"));
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const guard = useGuard(data.argsHash ?? data.approvalId);
  const element = useRef(null);
  const title = useId();
  const wrong = typed === null ? null : fault(typed);
  useSpoken(data);
  useFocusHandedOn(element);

  const answer = (/** @type {Answer} */ said) => async (/** @type {MouseEvent} */ event) => {
    if (sending || !guard(event)) return;
    setSending(true);
    setProblem(null);
    try {
      await onAnswer(said);
    } catch (error) {
      setProblem(error);
      setSending(false);
    }
  };
  const yes = (/** @type {Answer["keep"]} */ keep) =>
    answer({ approved: true, keep, scope: keep === "once" ? "tool" : scope, arguments: typed === null || wrong !== null ? undefined : edited(typed, asked) });

  if (data.state !== "requested") return html`<${Settled} data=${data} />`;
  // While it is sent its buttons keep the focus, which a disabled one would lose.
  const stuck = wrong !== null;
  return html`<section class="approval" ref=${element} role="group" aria-labelledby=${title} aria-busy=${sending} data-approval=${data.toolCallId}>
    <${Head} data=${data} id=${title} edited=${typed !== null && wrong === null && edited(typed, asked) !== undefined} />
    ${typed === null
      ? html`<${Asked} text=${asked} name=${`approval:${data.approvalId}`} onEdit=${() => setTyped(editable(asked))} />`
      : html`<${Editor} text=${typed} wrong=${wrong} onInput=${setTyped} onUndo=${() => setTyped(null)} />`}
    <label class="approval-reason">
      <span class="visually-hidden">${t("approval.reason")}</span>
      <input class="input" type="text" maxlength="2000" value=${reason} placeholder=${t("approval.reason")} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} />
    </label>
    ${problem && html`<p class="note bad" role="alert">${problem.status === 404 ? t("approval.answered_elsewhere") : problem.message}</p>`}
    <div class="approval-answers">
      <button type="button" class="button primary" disabled=${stuck} onClick=${yes("once")}><${Icon} name="check" size=${18} />${t("approval.once")}</button>
      <button type="button" class="button" onClick=${answer({ approved: false, reason: reason.trim() || undefined })}>
        <${Icon} name="close" size=${18} />${t(reason.trim() ? "approval.deny_and_say" : "approval.deny")}
      </button>
      <${Longer} data=${data} scope=${scope} onScope=${setScope} disabled=${stuck} onSession=${yes("session")} onAlways=${yes("always")} />
    </div>
  </section>`;
}

/** Who asks, what for, and what the tool says of itself. @param {{data: any, id: string, edited: boolean}} props */
function Head({ data, id, edited: changed }) {
  const { own, server } = named(data);
  const until = data.expiresAt && data.expiresAt - Date.now() < 86_400_000 ? new Intl.DateTimeFormat(language.value, { timeStyle: "short" }).format(data.expiresAt) : null;
  return html`<header class="approval-head">
    <p class="approval-title" id=${id}>
      ${data.of > 1 && html`<span class="badge">${t("approval.place", { place: data.place, of: data.of })}</span>${" "}`}
      ${t(changed ? "approval.title_edited" : "approval.title")}${" "}<strong><${Word} text=${own} judged /></strong>${" "}<span class="muted">${server ? html`${t("approval.of_server")} <${Word} text=${server} judged />` : t("approval.of_program")}</span>
    </p>
    ${data.destructive && html`<p class="approval-warning">${t("approval.destructive")}</p>`}
    ${data.readOnly && html`<p class="muted small">${t("approval.read_only")}</p>`}
    ${data.changed && html`<p class="approval-warning">${t("approval.changed")}</p>`}
    ${data.description && html`<div class="approval-says muted small"><span>${t("approval.says")}</span><${Plain} text=${data.description.trim()} judged name=${`approval:${data.approvalId}:says`} limit=${280} lines=${3} /></div>`}
    ${until && html`<p class="muted small">${t("approval.until", { time: until })}</p>`}
  </header>`;
}

/** @param {{text: string, name: string, onEdit: () => void}} props */
function Asked({ text, name, onEdit }) {
  const empty = /^\s*(\{\s*\})?\s*$/.test(text);
  return html`<div class="approval-arguments">
    <div class="row apart">
      <p class="tool-label">${t(empty ? "tool.no_arguments" : "tool.arguments")}</p>
      <button type="button" class="button quiet small" onClick=${onEdit}><${Icon} name="edit" size=${16} />${t("approval.edit")}</button>
    </div>
    ${!empty && html`<${Plain} text=${text} json judged name=${name} limit=${4000} lines=${24} label=${t("tool.arguments")} />`}
  </div>`;
}

/** @param {{text: string, wrong: string | null, onInput: (text: string) => void, onUndo: () => void}} props */
function Editor({ text, wrong, onInput, onUndo }) {
  const id = useId();
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
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
 * A yes that holds on, for this tool or for all of its server.
 *
 * @param {{data: any, scope: string, disabled: boolean, onScope: (scope: "tool" | "server") => void, onSession: (event: MouseEvent) => void, onAlways: (event: MouseEvent) => void}} props
 */
function Longer({ data, scope, disabled, onScope, onSession, onAlways }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const { server } = named(data);
  const others = data.others ?? [];
  return html`
    <button type="button" class="button quiet" aria-expanded=${open} aria-controls=${id} onClick=${() => setOpen(!open)}>
      ${t("approval.longer")}<${Icon} name=${open ? "down" : "right"} size=${16} />
    </button>
    <div class="approval-longer" id=${id} hidden=${!open}>
      ${others.length > 0 &&
      html`<fieldset>
        <legend class="visually-hidden">${t("approval.scope")}</legend>
        <label class="check"><input type="radio" name=${id} checked=${scope === "tool"} onChange=${() => onScope("tool")} /><span>${t("approval.this_tool")}</span></label>
        <label class="check"><input type="radio" name=${id} checked=${scope === "server"} onChange=${() => onScope("server")} />
          <span>${counted("approval.all_tools", others.length + 1)}${" "}<${Word} text=${server} judged /><span class="muted small approval-others">${others.slice(0, 12).map((/** @type {string} */ name, /** @type {number} */ place) => html`${place > 0 && ", "}<${Word} text=${toolNamed(name, known()).own} judged />`)}${others.length > 12 && " …"}</span></span>
        </label>
      </fieldset>`}
      <div class="row">
        <button type="button" class="button small" disabled=${disabled} onClick=${onSession}>${t("approval.session")}</button>
        <button type="button" class="button small" disabled=${disabled} onClick=${onAlways}>${t("approval.always")}</button>
      </div>
    </div>
  `;
}

/** What was said, here or elsewhere. @param {{data: any}} props */
function Settled({ data }) {
  return html`<p class="approval-settled muted small">${t(`approval.state_${data.state}`)} <${Word} text=${named(data).own} judged /></p>`;
}

/**
 * Tells whether a click may be an answer: nobody answers what they have not had the time to see, a
 * page that lies behind another one shows nothing, and a held key says nothing.
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
      repeated: event.detail === 0 && repeated.current,
      clicks: event.detail,
    });
}

/** Says once, to who listens, that an answer is wanted. @param {any} data */
function useSpoken(data) {
  useEffect(() => {
    if (data.state === "requested") announce(t("approval.spoken", { tool: named(data).own }));
  }, [data.approvalId]);
}

/**
 * Whoever answered by keys goes on at the next question, or where they write: never at the top of
 * the page, where the browser would put them.
 *
 * @param {{current: HTMLElement | null}} element
 */
function useFocusHandedOn(element) {
  useLayoutEffect(() => {
    const own = element.current;
    return () => {
      answered = performance.now();
      if (!own?.contains(document.activeElement)) return;
      const next = [...document.querySelectorAll(".approval")].find((each) => each !== own);
      const to = next?.querySelector("button") ?? document.getElementById("composer");
      if (to instanceof HTMLElement) queueMicrotask(() => to.focus());
    };
  }, []);
}

/** @param {any} data @returns {{own: string, server: string}} */
function named(data) {
  const { own, server } = toolNamed(data.toolName, known());
  return { own, server: data.server ?? server };
}

const known = () => me.value?.tools ?? [];
