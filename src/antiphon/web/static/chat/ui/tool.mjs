/** Tool calls of an answer: each is a line that opens; many form a group. */
import { html, useMemo, useState } from "../vendor/ui.mjs";
import { argumentsOf, countTools, isOpen, getForCall, outputOf, stateOf, tally, splitToolName } from "../calls.mjs";
import { useSeconds } from "../elapsed.mjs";
import { useFold } from "../folds.mjs";
import { shorten } from "../json.mjs";
import { formatSeconds } from "../units.mjs";
import { me } from "../store.mjs";
import { tCount, language, t } from "../t.mjs";
import { AttachmentList } from "./attachment_list.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { Reasoning } from "./reasoning.mjs";
import { Remembered, readRemembered } from "./remembered.mjs";
import { Revealed, Word } from "./word.mjs";

/**
 * @typedef {import("../message_parts.mjs").Item} Item
 * @typedef {import("../calls.mjs").CallState} CallState
 * @typedef {import("../calls.mjs").Status} Status
 *
 * @typedef {object} Known  what is known of a group's calls beside their parts
 * @property {string} message  id of the message that they belong to
 * @property {boolean} live  true while its run goes on
 * @property {Readonly<Record<string, Status>>} [statuses]
 * @property {Record<string, any>} [approvals]
 * @property {Record<string, import("../message_parts.mjs").Part[]>} [files]  what calls gave beside their words
 * @property {(callId: string) => Promise<unknown>} [onStop]  gives nothing where it did not come through
 */

/** Calls beyond which a group starts closed; running and failed calls stay visible. */
const FEW = 4;

/** Characters of arguments and result that fit into a line on the widest screen. */
const LINE = 160;

/** Arguments up to this length are shown in the line only. */
const SHORT = 72;

/** Characters of a tool's own words on its progress that are shown at first. */
const SAID = 400;

const SIGNS = { done: "check", failed: "warn", refused: "close", stopped: "stop", left: "stop" };

/**
 * Calls in a row, whatever turns they came in.
 *
 * @param {Known & {items: readonly Item[], name: string}} props
 */
export function Tools({ items, name, ...known }) {
  const calls = items.filter((item) => item.kind === "tool");
  const states = calls.map((item) => stateOf(item.part, statusFor(item, known)));
  const many = calls.length > FEW;
  const [open, setOpen] = useFold(`${known.message}:${name}`, !many);
  const shown = open ? items : calls.filter((_, place) => isOpen(states[place]) || states[place] === "failed");
  return html`<section class="tools" role="group" data-many=${many} aria-label=${tCount("tool.calls", calls.length)}>
    ${many && html`<${Summary} calls=${calls} states=${states} open=${open} onToggle=${() => setOpen(!open)} />`}
    <div class="tools-list">
      ${shown.map((item) =>
        item.kind === "tool"
          ? html`<${Tool} key=${item.name} item=${item} brief=${many} ...${known} />`
          : html`<${Reasoning} key=${item.name} part=${item.part} live=${known.live} name=${`${known.message}:${item.name}`} />`,
      )}
    </div>
  </section>`;
}

/** @param {{calls: Item[], states: CallState[], open: boolean, onToggle: () => void}} props */
function Summary({ calls, states, open, onToggle }) {
  const numbers = tally(states);
  const told = /** @type {CallState[]} */ (["running", "waiting", "asking", "writing", "failed", "refused", "stopped", "left"])
    .filter((state) => numbers[state])
    .map((state) => html`<span class=${`tool-number ${state}`} key=${state}>${t(`tool.number_${state}`, { count: numbers[state] ?? 0 })}${" "}</span>`);
  const tools = countTools(calls.map((item) => item.part));
  const busy = states.some(isOpen);
  return html`<button type="button" class="tools-head" aria-expanded=${open} onClick=${onToggle}>
    <${Sign} state=${busy ? "running" : "done"} />
    <span class="tools-count">${tCount("tool.calls", calls.length)}</span>${" "}
    ${told}
    <span class="tools-names muted clipped">${tools.slice(0, 4).map(([name, times], place) => html`${place > 0 && ", "}<${Revealed} text=${splitToolName(name, knownTools()).own} /> ×${times}`)}${tools.length > 4 && " …"}</span>
    <${Icon} name=${open ? "down" : "right"} size=${18} />
  </button>`;
}

/**
 * One call: a line, and under it, where it is open, its arguments and what came of it.
 *
 * @param {Known & {item: Item, brief: boolean}} props
 */
function Tool({ item, brief, ...known }) {
  const { part } = item;
  const of = statusFor(item, known);
  const state = stateOf(part, of);
  const key = `${known.message}:${item.name}`;
  // A question beneath it shows its arguments already.
  const [open, setOpen] = useFold(key, state !== "asking" && (!brief || state === "failed"));
  const going = state === "running" || state === "waiting";
  const lasting = useSeconds(key, going, of.status?.elapsed);
  // A call that was refused or stopped never ran, and may have looked as if it did before it asked.
  const seconds = state === "refused" || state === "stopped" ? null : lasting;
  const { own, server } = splitToolName(part.toolName, knownTools());
  const written = (!part.edited && of.approval?.arguments) || argumentsOf(part);
  const output = outputOf(part);
  const files = getForCall(known.files, part.toolCallId);
  const line = useMemo(() => shorten(written, LINE), [written]);
  const short = line.length <= SHORT;
  const note = state === "done" ? readRemembered(part.toolName, output) : null;
  return html`<article class="tool" data-state=${state}>
    <button type="button" class="tool-head" aria-expanded=${open} onClick=${() => setOpen(!open)}>
      <${Sign} state=${state} />
      <span class="tool-name"><${Word} text=${own} />${server && html` <span class="muted tool-server"><${Word} text=${server} /></span>`}</span>${" "}
      ${(short || !open) && html`<span class=${`tool-line muted ${short ? "" : "clipped"}`}><bdi><${Revealed} text=${line} /></bdi></span>`}${" "}
      <span class="tool-state">${stateWords(state, of.status)}${seconds !== null && seconds >= 0.05 && html`, <span class="numbers">${formatSeconds(seconds, language.value, !going)}</span>`}</span>
    </button>
    ${going && html`<${Progress} part=${part} status=${of.status} callId=${part.toolCallId} onStop=${known.onStop} name=${key} />`}
    ${open && !short && html`<${Arguments} text=${written} name=${key} />`}
    ${open && !isOpen(state) && !note && html`<${Result} output=${output} state=${state} name=${key} />`}
    ${open && files && html`<${AttachmentList} parts=${files} />`}
    ${note && html`<${Remembered} note=${note} />`}
    ${!open && !isOpen(state) && !note && output && html`<p class="tool-brief clipped"><bdi><${Revealed} text=${shorten(output.slice(0, 4 * LINE), LINE)} /></bdi></p>`}
  </article>`;
}

/** Returns the state of a call in words. @param {CallState} state @param {Status | undefined} status */
function stateWords(state, status) {
  const servers = state === "waiting" && status?.servers?.length ? status.servers.join(", ") : "";
  return servers ? t("tool.awaiting", { servers }) : t(`tool.${state}`);
}

/** @param {{text: string, name: string}} props */
function Arguments({ text, name }) {
  const label = t("tool.arguments");
  return html`<div class="tool-part">
    <p class="tool-label">${label}</p>
    <${Plain} text=${text} json name=${`${name}:arguments`} limit=${700} lines=${10} label=${label} />
  </div>`;
}

/** @param {{output: string, state: CallState, name: string}} props */
function Result({ output, state, name }) {
  if (state === "left") return html`<p class="tool-label">${t("tool.left_why")}</p>`;
  const label = t(state === "failed" ? "tool.error" : state === "refused" || state === "stopped" ? "tool.refusal" : "tool.result");
  if (output === "") return html`<p class="tool-label">${t("tool.no_result")}</p>`;
  return html`<div class="tool-part result">
    <p class="tool-label">${label}</p>
    <${Plain} text=${output} json name=${`${name}:result`} label=${label} />
  </div>`;
}

/**
 * Progress of a running tool, its output so far, and a button to stop it alone.
 *
 * @param {{part: import("../message_parts.mjs").Part, status?: Status, callId: string, name: string, onStop?: Known["onStop"]}} props
 */
function Progress({ part, status, callId, name, onStop }) {
  const [stopping, setStopping] = useState(false);
  const progress = status?.progress ?? (part.preliminary ? part.output?.progress : undefined);
  const partial = part.preliminary && !part.output?.progress ? outputOf(part) : "";
  const stop = async () => {
    setStopping(true);
    if (!(await onStop?.(callId))) setStopping(false);
  };
  return html`<div class="tool-progress">
    ${progress && html`<${Bar} progress=${progress} />`}
    ${progress?.message && html`<div class="tool-said"><${Plain} text=${progress.message} name=${`${name}:progress`} limit=${SAID} label=${t("tool.progress")} /></div>`}
    ${partial && html`<${Plain} text=${partial} json name=${`${name}:partial`} label=${t("tool.result")} />`}
    ${onStop && status?.state === "running" &&
    html`<button type="button" class="button quiet small" disabled=${stopping} onClick=${stop}>
      <${Icon} name="stop" size=${16} />${t(stopping ? "tool.stopping" : "tool.stop")}
    </button>`}
  </div>`;
}

/** @param {{progress: {done: number, total: number | null}}} props */
function Bar({ progress: { done, total } }) {
  const number = new Intl.NumberFormat(language.value, { maximumFractionDigits: 1 });
  const said = total ? t("tool.progress_of", { done: number.format(done), total: number.format(total) }) : number.format(done);
  return html`<div class="tool-bar">
    <progress value=${total ? Math.min(done, total) : undefined} max=${total || undefined} aria-label=${t("tool.progress")}></progress>
    <span class="numbers muted small">${said}</span>
  </div>`;
}

/** @param {{state: CallState}} props */
function Sign({ state }) {
  if (state === "running" || state === "writing") return html`<span class="tool-sign spinner" aria-hidden="true"></span>`;
  if (state === "asking" || state === "waiting") return html`<span class="tool-sign dot" aria-hidden="true"></span>`;
  return html`<span class=${`tool-sign ${state}`} aria-hidden="true"><${Icon} name=${SIGNS[state]} size=${16} /></span>`;
}

/** @param {Item} item @param {Known} known */
const statusFor = (item, known) => ({
  status: getForCall(known.statuses, item.part.toolCallId),
  approval: getForCall(known.approvals, item.part.toolCallId),
  live: known.live,
});

const knownTools = () => me.value?.tools ?? [];
