/** One run, or two beside each other: facts, and the steps as bars on one scale. */
import { get } from "../api.mjs";
import { navigate } from "../router.mjs";
import { language, t, tCount } from "../t.mjs";
import { formatSeconds } from "../units.mjs";
import { html, useEffect } from "../vendor/ui.mjs";
import { NotFound } from "./failures.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";
import { moment } from "./times.mjs";
import { money, whole } from "./usage.mjs";

const BEAT_MILLISECONDS = 2000;

/** @typedef {{input_tokens?: number, output_tokens?: number, cached_tokens?: number, reasoning_tokens?: number, cost?: number | null}} Spent */
/** @typedef {{kind: "queue" | "reply" | "call", name: string, turn: number, began_at: number, ended_at: number | null, outcome: string, characters: number, usage: Spent | null, restarts: string[], where: string}} Step */
/** @typedef {{id: string, thread_id: string, status: string, model: string, created_at: number, ended_at: number | null, turn: number, tool_calls: number, usage: Spent, error: {code: string, message: string} | null}} Run */
/** @typedef {{run: Run, steps: Step[]}} Timeline */
/** @typedef {{id: string, model: string, created_at: number}} Reference */

/** The view of `/r/{run}` and `/r/{run}/{other}`. @param {{id: string, other?: string}} props */
export function RunPage({ id, other }) {
  const loaded = useLoad(
    () => Promise.all([id, other].filter(Boolean).map((each) => get(`/api/runs/${encodeURIComponent(String(each))}/timeline`))),
    [id, other],
  );
  const goesOn = loaded.data?.some((/** @type {Timeline} */ { run }) => run.ended_at === null);
  useEffect(() => {
    if (!goesOn) return undefined;
    const beat = setInterval(() => document.visibilityState === "visible" && loaded.again(), BEAT_MILLISECONDS);
    return () => clearInterval(beat);
  }, [goesOn, id, other]);

  if (/** @type {any} */ (loaded.problem)?.status === 404) return html`<${NotFound} text=${t("run.unknown")} />`;
  const thread = loaded.data?.[0].run.thread_id;
  return html`
    <div class="topbar">
      <${MenuButton} />
      ${thread && html`<${Link} href=${`/t/${thread}`} class="icon-button" aria-label=${t("run.back")} title=${t("run.back")}><${Icon} name="back" /><//>`}
      <h1>${t(other ? "run.title_two" : "run.title")}</h1>
      <${NewThreadButton} />
    </div>
    <div class="page broad" tabindex="0" role="region" aria-label=${t("run.title")}>
      <${Loaded} of=${loaded}>${(/** @type {Timeline[]} */ timelines) => html`<${Runs} timelines=${timelines} id=${id} other=${other ?? ""} />`}<//>
    </div>
  `;
}

/** @param {{timelines: Timeline[], id: string, other: string}} props */
function Runs({ timelines, id, other }) {
  const scale = Math.max(1, ...timelines.map((timeline) => endOf(timeline) - timeline.run.created_at));
  return html`
    ${timelines.map((timeline) => html`<${OneRun} key=${timeline.run.id} timeline=${timeline} scale=${scale} />`)}
    <${Others} thread=${timelines[0].run.thread_id} id=${id} other=${other} />
  `;
}

/** A choice among the other runs of the conversation. @param {{thread: string, id: string, other: string}} props */
function Others({ thread, id, other }) {
  const loaded = useLoad(() => get(`/api/threads/${encodeURIComponent(thread)}/runs`), [thread]);
  /** @type {Reference[]} */
  const others = (loaded.data?.data ?? []).filter((/** @type {Reference} */ each) => each.id !== id);
  const choose = (/** @type {Event} */ event) => {
    const chosen = /** @type {HTMLSelectElement} */ (event.target).value;
    navigate(chosen ? `/r/${id}/${chosen}` : `/r/${id}`);
  };
  if (others.length === 0 && !other) return null;
  return html`<label class="field">
    <span>${t("run.compare")}</span>
    <select class="input short" value=${other} onChange=${choose}>
      <option value="">${t("run.compare_none")}</option>
      ${others.map((each) => html`<option key=${each.id} value=${each.id}>${`${moment(each.created_at)} · ${each.model}`}</option>`)}
      ${other && !others.some((each) => each.id === other) && html`<option value=${other}>${other}</option>`}
    </select>
  </label>`;
}

/** @param {{timeline: Timeline, scale: number}} props */
function OneRun({ timeline, scale }) {
  const { run, steps } = timeline;
  return html`<section class="run" aria-label=${run.id}>
    <dl class="facts">
      <${Fact} name=${t("run.status")}><span class="badge">${t(`runs.state_${run.status}`)}</span><//>
      <${Fact} name=${t("run.model")}><span dir="auto" class="breaks">${run.model}</span><//>
      <${Fact} name=${t("run.began")}>${moment(run.created_at)}<//>
      <${Fact} name=${t("run.took")}>${run.ended_at === null ? t("run.goes_on") : duration(run.ended_at - run.created_at)}<//>
      <${Fact} name=${t("run.turns")}>${whole(run.turn)}<//>
      <${Fact} name=${t("run.calls")}>${whole(run.tool_calls)}<//>
      <${Fact} name=${t("run.tokens")}>${tokens(run.usage)}<//>
      ${typeof run.usage.cost === "number" && html`<${Fact} name=${t("run.cost")}>${money(run.usage.cost)}<//>`}
      <${Fact} name=${t("run.id")}><code class="id" title=${run.id}>${run.id}</code><//>
    </dl>
    ${run.error && html`<p class="note bad" dir="auto">${run.error.code}: ${run.error.message}</p>`}
    <ol class="timeline">${steps.map((step, place) => html`<${Bar} key=${place} step=${step} began=${run.created_at} scale=${scale} />`)}</ol>
  </section>`;
}

/** @param {{name: string, children?: any}} props */
const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

/** @param {{step: Step, began: number, scale: number}} props */
function Bar({ step, began, scale }) {
  const length = (step.ended_at ?? step.began_at) - step.began_at;
  const left = Math.max(0, step.began_at - began) / scale;
  const place = { "--left": `${left * 100}%`, "--length": `${(length / scale) * 100}%` };
  const details = [
    step.outcome && t(`run.outcome_${step.outcome}`),
    step.usage && (step.usage.input_tokens || step.usage.output_tokens) && tokens(step.usage),
    step.kind === "call" && step.where === "server" && t("run.at_server"),
    step.characters > 0 && tCount("run.characters", step.characters),
    ...step.restarts.map((reason) => t("run.restarted", { reason })),
  ].filter(Boolean);
  return html`<li class="step" data-kind=${step.kind} data-outcome=${step.outcome || undefined}>
    <span class="step-name"><${Icon} name=${ICONS[step.kind]} size=${16} /><span class="breaks" dir="auto">${nameOf(step)}</span></span>
    <span class="step-track" aria-hidden="true"><span class="step-bar" style=${place}></span></span>
    <span class="step-took numbers">${step.ended_at === null ? t("run.goes_on") : duration(length)}</span>
    ${details.length > 0 && html`<span class="step-details muted small">${details.join(" · ")}</span>`}
  </li>`;
}

/** @type {Record<Step["kind"], "timeline" | "model" | "tool">} */
const ICONS = { queue: "timeline", reply: "model", call: "tool" };

/** @param {Step} step */
function nameOf(step) {
  if (step.kind === "queue") return t("run.queue");
  return step.kind === "reply" ? t("run.reply", { number: step.turn }) : step.name;
}

/** Returns the time of the last known moment. @param {Timeline} timeline */
const endOf = ({ run, steps }) => Math.max(run.created_at, ...steps.map((step) => step.ended_at ?? step.began_at));

/** @param {Spent} used */
const tokens = (used) => t("run.tokens_parts", { input: whole(used.input_tokens ?? 0), output: whole(used.output_tokens ?? 0) });

/** @param {number} milliseconds */
function duration(milliseconds) {
  if (milliseconds >= 1000) return formatSeconds(milliseconds / 1000, language.value, true);
  return new Intl.NumberFormat(language.value, { style: "unit", unit: "millisecond" }).format(milliseconds);
}
