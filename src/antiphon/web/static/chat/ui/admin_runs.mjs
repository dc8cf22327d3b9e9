/** Live runs of all owners, and a button to stop each. */
import { get, post } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useEffect } from "../vendor/ui.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Table } from "./table.mjs";
import { ago } from "./times.mjs";
import { runAndReport } from "./toasts.mjs";

const BEAT_MILLISECONDS = 3000;

/** @typedef {{run: {id: string, thread_id: string, status: string, model: string | null, created_at: number}, owner: string, person: string}} LiveRun */

export function LiveRuns() {
  const loaded = useLoad(() => get("/api/admin/runs"));
  useEffect(() => {
    const beat = setInterval(() => document.visibilityState === "visible" && loaded.again(), BEAT_MILLISECONDS);
    return () => clearInterval(beat);
  }, []);
  return html`
    <div>
      <h2>${t("admin.runs")}</h2>
      <p class="muted">${t("runs.hint")}</p>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${RunTable} runs=${data} onStopped=${loaded.again} />` : html`<p class="empty">${t("runs.none")}</p>`)}<//>
  `;
}

function RunTable(/** @type {{runs: LiveRun[], onStopped: () => Promise<void>}} */ { runs, onStopped }) {
  const stop = async (/** @type {LiveRun} */ { run, owner }) => {
    await runAndReport(() => post(`/api/admin/runs/${encodeURIComponent(run.id)}/stop`, { owner }));
    await onStopped();
  };
  const columns = [
    { name: t("runs.owner"), show: (/** @type {LiveRun} */ { person }) => html`<strong dir="auto">${person}</strong>` },
    { name: t("runs.model"), show: (/** @type {LiveRun} */ { run }) => run.model ?? "" },
    { name: t("runs.status"), show: (/** @type {LiveRun} */ { run }) => html`<span class="badge">${t(`runs.state_${run.status}`)}</span>` },
    { name: t("runs.since"), show: (/** @type {LiveRun} */ { run }) => ago(run.created_at) },
    { name: "", show: (/** @type {LiveRun} */ live) => html`<button type="button" class="button small danger" onClick=${() => stop(live)}>${t("runs.stop")}</button>` },
  ];
  return html`<${Table} caption=${t("admin.runs")} columns=${columns} rows=${runs} keyOf=${(/** @type {LiveRun} */ live) => live.run.id} />`;
}
