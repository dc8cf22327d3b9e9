/** Schedules of all owners: create, change, pause, run by hand, and what became of their times. */
import { get, patch, post, remove } from "../api.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useRef, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Menu } from "./menu.mjs";
import { possibleOwners } from "./owners.mjs";
import { Table } from "./table.mjs";
import { moment } from "./times.mjs";
import { toast, runAndReport } from "./toasts.mjs";

/**
 * @typedef {{
 *   id: string, owner: string, person: string, name: string, message: string, cron: string | null, run_at: number | null,
 *   timezone: string, assistant_id: string | null, allowed_tools: string[], max_total_tokens: number, timeout: number,
 *   missed: string, paused: boolean, pause_reason: string | null, next_at: number | null, waiting_for: string | null,
 * }} Schedule
 * @typedef {{
 *   id: string, status: string, due_at: number | null, missed_until: number | null, run_id: string | null,
 *   run_status: string | null, error: {code: string, message: string} | null, created_at: number,
 * }} Occurrence
 */

const POLICIES = ["run_once", "run_all", "skip"];
const BADGES = { started: "badge good", missed: "badge", failed: "badge bad" };

/** Returns the address of a schedule, or of something of it, for the administrator who acts for its owner. */
function address(/** @type {Schedule} */ schedule, /** @type {string} */ of = "") {
  return `/api/admin/schedules/${encodeURIComponent(schedule.id)}${of}?owner=${encodeURIComponent(schedule.owner)}`;
}

async function schedulesAndOwners() {
  const [schedules, names] = await Promise.all([get("/api/admin/schedules"), possibleOwners()]);
  return { schedules: schedules.data, names };
}

export function Schedules() {
  const loaded = useLoad(schedulesAndOwners);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const [shown, setShown] = useState(/** @type {Schedule | null} */ (null));
  const close = () => setDialog(null);
  const done = async () => {
    close();
    await loaded.again();
  };
  const doing = { setDialog, setShown, close, done };
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.schedules")}</h2>
        <p class="muted">${t("schedules.hint")}</p>
      </div>
      <button type="button" class="button primary" disabled=${!loaded.data} onClick=${() => setDialog(html`<${NewSchedule} names=${loaded.data.names} onDone=${done} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("schedules.make")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ schedules, names }) => (schedules.length > 0 ? html`<${ScheduleTable} schedules=${schedules} names=${names} doing=${doing} />` : html`<p class="empty">${t("schedules.none")}</p>`)}<//>
    ${shown && html`<${History} key=${shown.id} of=${shown} onClose=${() => setShown(null)} />`}
    ${dialog}
  `;
}

function ScheduleTable(/** @type {{schedules: Schedule[], names: Map<string, string>, doing: any}} */ { schedules, names, doing }) {
  const columns = [
    { name: t("schedules.owner"), show: (/** @type {Schedule} */ schedule) => html`<strong dir="auto">${names.get(schedule.owner) ?? schedule.person}</strong>` },
    { name: t("schedules.what"), show: (/** @type {Schedule} */ schedule) => html`<span dir="auto">${schedule.name || schedule.message}</span>` },
    { name: t("schedules.times"), show: (/** @type {Schedule} */ schedule) => html`<div class="mono small">${schedule.cron ?? moment(schedule.run_at ?? 0)}</div><div class="small muted">${schedule.timezone}</div>` },
    { name: t("schedules.tools"), show: (/** @type {Schedule} */ schedule) => html`<span class="row">${(schedule.allowed_tools.length > 0 ? schedule.allowed_tools : [t("schedules.no_tools")]).map((tool) => html`<span class="badge" key=${tool}>${tool}</span>`)}</span>` },
    { name: t("schedules.state"), show: (/** @type {Schedule} */ schedule) => html`<span class=${schedule.paused || schedule.waiting_for ? "badge bad" : "badge good"}>${stateWords(schedule)}</span>` },
    { name: t("schedules.next"), show: (/** @type {Schedule} */ schedule) => (schedule.next_at ? moment(schedule.next_at) : "") },
    { name: "", show: (/** @type {Schedule} */ schedule) => html`<${Menu} label=${t("schedules.actions", { name: schedule.name || schedule.message.slice(0, 60) })} choices=${choicesFor(schedule, doing)} />` },
  ];
  return html`<${Table} caption=${t("admin.schedules")} columns=${columns} rows=${schedules} keyOf=${(/** @type {Schedule} */ schedule) => schedule.id} />`;
}

function stateWords(/** @type {Schedule} */ schedule) {
  if (schedule.paused) return t(`schedules.paused_${schedule.pause_reason}`);
  if (schedule.waiting_for) return t("schedules.waits", { provider: schedule.waiting_for });
  return t(schedule.next_at ? "schedules.active" : "schedules.over");
}

function choicesFor(/** @type {Schedule} */ schedule, /** @type {any} */ { setDialog, setShown, close, done }) {
  const setPaused = (/** @type {boolean} */ paused) => async () => {
    await runAndReport(() => patch(address(schedule), { paused }));
    await done();
  };
  const runNow = async () => {
    if (!(await runAndReport(() => post(address(schedule, "/run"))))) return;
    toast({ text: t("schedules.begun") });
    setShown(schedule);
    await done();
  };
  const leave = async () => {
    await remove(address(schedule));
    setShown(null);
    await done();
  };
  const askToRemove = () =>
    setDialog(html`<${ConfirmDialog}
      title=${t("schedules.remove_title")} text=${t("schedules.remove_text")} action=${t("schedules.remove")}
      onConfirm=${leave} onClose=${close}
    />`);
  return [
    { label: t("schedules.history"), run: () => setShown(schedule) },
    { label: t("schedules.run"), run: runNow },
    { label: t("schedules.change"), icon: "edit", run: () => setDialog(html`<${EditedSchedule} of=${schedule} onDone=${done} onClose=${close} />`) },
    schedule.paused ? { label: t("schedules.resume"), run: setPaused(false) } : { label: t("schedules.pause"), run: setPaused(true) },
    { label: t("schedules.remove"), danger: true, run: askToRemove },
  ];
}

function NewSchedule(/** @type {{names: Map<string, string>, onDone: () => Promise<void>, onClose: () => void}} */ { names, onDone, onClose }) {
  const make = async (/** @type {Record<string, string>} */ values) => {
    await post("/api/admin/schedules", { owner: values.owner, ...fieldsOf(values) });
    await onDone();
  };
  return html`<${Dialog} title=${t("schedules.make")} onClose=${onClose}>
    <${Form} onSubmit=${make} action=${t("schedules.make")} onCancel=${onClose}>
      <${Field} label=${t("schedules.owner")} hint=${t("schedules.owner_hint")}><select class="input" name="owner">${[...names].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select><//>
      <${ScheduleFields} />
    <//>
  <//>`;
}

function EditedSchedule(/** @type {{of: Schedule, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const save = async (/** @type {Record<string, string>} */ values) => {
    await patch(address(of), fieldsOf(values, of));
    await onDone();
  };
  return html`<${Dialog} title=${t("schedules.change")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}><${ScheduleFields} of=${of} /><//>
  <//>`;
}

function ScheduleFields(/** @type {{of?: Schedule}} */ { of }) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  return html`
    <${Field} label=${t("schedules.message")}><textarea class="input" name="message" rows="3" required maxlength="100000" dir="auto" defaultValue=${of?.message ?? ""}></textarea><//>
    <${Field} label=${t("schedules.name")}><input class="input" name="name" maxlength="512" autocomplete="off" dir="auto" defaultValue=${of?.name ?? ""} /><//>
    <${Field} label=${t("schedules.cron")} hint=${t("schedules.cron_hint")}><input class="input mono" name="cron" maxlength="256" autocomplete="off" spellcheck="false" placeholder="30 8 * * mon-fri" defaultValue=${of?.cron ?? ""} /><//>
    <${Field} label=${t("schedules.once")} hint=${t("schedules.once_hint")}><input class="input" type="datetime-local" name="once" defaultValue=${of?.run_at ? localTime(of.run_at) : ""} /><//>
    <${Field} label=${t("schedules.timezone")}><input class="input" name="timezone" maxlength="64" required autocomplete="off" spellcheck="false" defaultValue=${of?.timezone ?? zone} /><//>
    <${NextTimes} />
    <${Field} label=${t("schedules.assistant")} hint=${t("schedules.assistant_hint")}><input class="input mono" name="assistant" maxlength="128" autocomplete="off" spellcheck="false" defaultValue=${of?.assistant_id ?? ""} /><//>
    <${Field} label=${t("schedules.tools")} hint=${t("schedules.tools_hint")}><input class="input mono" name="tools" maxlength="4096" autocomplete="off" spellcheck="false" defaultValue=${of?.allowed_tools.join(" ") ?? ""} /><//>
    <${Field} label=${t("schedules.tokens")}><input class="input" type="number" name="tokens" min="1" max="1000000000" required defaultValue=${of?.max_total_tokens ?? 200_000} /><//>
    <${Field} label=${t("schedules.timeout")}><input class="input" type="number" name="timeout" min="1" max="604800" required defaultValue=${of?.timeout ?? 3600} /><//>
    <${Field} label=${t("schedules.missed")}><select class="input" name="missed">${POLICIES.map((policy) => html`<option key=${policy} value=${policy} selected=${policy === (of?.missed ?? "run_once")}>${t(`schedules.missed_${policy}`)}</option>`)}</select><//>
  `;
}

/** Shows the next times of the expression in the form around it, on request. */
function NextTimes() {
  const [times, setTimes] = useState(/** @type {{at: number, local: string}[] | null} */ (null));
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const look = () =>
    runAndReport(async () => {
      const values = new FormData(/** @type {HTMLFormElement} */ (place.current?.closest("form")));
      const query = new URLSearchParams({ cron: String(values.get("cron")), timezone: String(values.get("timezone")) });
      setTimes((await get(`/api/admin/schedules/times?${query}`)).data);
    });
  return html`<div class="field" ref=${place}>
    <div><button type="button" class="button small" onClick=${look}>${t("schedules.preview")}</button></div>
    ${times && html`<ul class="small" role="status">${times.map(({ at, local }) => html`<li key=${at} class="mono">${local}</li>`)}</ul>`}
  </div>`;
}

/** Returns the fields of the form as a schedule has them; of its times only those that are new, as an old one has passed. */
function fieldsOf(/** @type {Record<string, string>} */ values, /** @type {Schedule | undefined} */ of = undefined) {
  const cron = values.cron.trim();
  const before = of?.run_at ? localTime(of.run_at) : "";
  return {
    message: values.message,
    name: values.name.trim(),
    ...(cron && cron !== of?.cron && { cron }),
    ...(values.once && values.once !== before && { run_at: new Date(values.once).getTime() }),
    timezone: values.timezone.trim(),
    assistant_id: values.assistant.trim() || null,
    allowed_tools: values.tools.split(/[\s,]+/).filter(Boolean),
    max_total_tokens: Number(values.tokens),
    timeout: Number(values.timeout),
    missed: values.missed,
  };
}

/** Returns a time as a field of type `datetime-local` has it, in the zone of the browser. */
function localTime(/** @type {number} */ at) {
  const shifted = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

/** History of a schedule, newest first, and older entries on request. */
function History(/** @type {{of: Schedule, onClose: () => void}} */ { of, onClose }) {
  const loaded = useLoad(() => get(address(of, "/occurrences")));
  return html`<section class="stack">
    <div class="row apart">
      <h3 class="breaks" dir="auto">${t("schedules.history_of", { name: of.name || of.message.slice(0, 60) })}</h3>
      <span class="row">
        <button type="button" class="button small" onClick=${loaded.again}>${t("schedules.refresh")}</button>
        <button type="button" class="button small quiet" onClick=${onClose}>${t("common.close")}</button>
      </span>
    </div>
    <${Loaded} of=${loaded}>${(/** @type {any} */ page) => (page.data.length > 0 ? html`<${HistoryPages} key=${`${page.data[0].id} ${page.data[0].run_status}`} schedule=${of} first=${page} />` : html`<p class="empty">${t("schedules.no_history")}</p>`)}<//>
  </section>`;
}

function HistoryPages(/** @type {{schedule: Schedule, first: {data: Occurrence[], next: string | null}}} */ { schedule, first }) {
  const [older, setOlder] = useState(/** @type {{data: Occurrence[], next: string | null}[]} */ ([]));
  const pages = [first, ...older];
  const next = pages.at(-1)?.next;
  const isOwn = schedule.owner === (me.value?.person?.id ?? "local");
  const more = () =>
    runAndReport(async () => {
      const page = await get(`${address(schedule, "/occurrences")}&after=${encodeURIComponent(next ?? "")}`);
      setOlder((before) => [...before, page]);
    });
  const columns = [
    { name: t("schedules.due"), show: (/** @type {Occurrence} */ each) => html`<strong>${dueWords(each)}</strong>` },
    { name: t("schedules.outcome"), show: (/** @type {Occurrence} */ each) => html`<span class=${BADGES[/** @type {keyof typeof BADGES} */ (each.status)]}>${t(`schedules.outcome_${each.status}`)}</span>` },
    { name: t("schedules.run_of"), show: (/** @type {Occurrence} */ each) => runLink(each, isOwn) },
    { name: t("schedules.status"), show: (/** @type {Occurrence} */ each) => (each.run_status ? t(`runs.state_${each.run_status}`) : "") },
    { name: t("schedules.error"), show: (/** @type {Occurrence} */ each) => html`<span class="small" dir="auto">${each.error?.message ?? ""}</span>` },
  ];
  return html`
    <${Table} caption=${t("schedules.history")} columns=${columns} rows=${pages.flatMap((page) => page.data)} keyOf=${(/** @type {Occurrence} */ each) => each.id} />
    ${next && html`<p><button type="button" class="button" onClick=${more}>${t("acts.older")}</button></p>`}
  `;
}

function dueWords(/** @type {Occurrence} */ occurrence) {
  if (occurrence.due_at === null) return t("schedules.by_hand", { time: moment(occurrence.created_at) });
  const until = occurrence.missed_until;
  return until && until !== occurrence.due_at ? `${moment(occurrence.due_at)} – ${moment(until)}` : moment(occurrence.due_at);
}

/** Returns the run's id, as a link for the person whose run it is: the page of a run shows nobody else's. */
function runLink(/** @type {Occurrence} */ { run_id, run_status }, /** @type {boolean} */ isOwn) {
  if (!run_id) return "";
  const id = html`<span class="mono small clipped id" title=${run_id}>${run_id}</span>`;
  return isOwn && run_status ? html`<${Link} href=${`/r/${run_id}`}>${id}<//>` : id;
}
