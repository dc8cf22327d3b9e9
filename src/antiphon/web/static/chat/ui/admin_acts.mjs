/** The audit log, newest first. */
import { get } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Table } from "./table.mjs";
import { moment } from "./times.mjs";
import { runAndReport } from "./toasts.mjs";

/** @typedef {{id: string, at: number, who: string, what: string, target: string, whose: string, details: Record<string, string>}} Act */

export function Acts() {
  const loaded = useLoad(() => get("/api/admin/acts"));
  return html`
    <div>
      <h2>${t("admin.acts")}</h2>
      <p class="muted">${t("acts.hint")}</p>
    </div>
    <${Loaded} of=${loaded}>${(/** @type {any} */ page) => (page.data.length > 0 ? html`<${Pages} first=${page} />` : html`<p class="empty">${t("acts.none")}</p>`)}<//>
  `;
}

/** The first page, and older ones on request. */
function Pages(/** @type {{first: {data: Act[], next: string | null}}} */ { first }) {
  const [older, setOlder] = useState(/** @type {{data: Act[], next: string | null}[]} */ ([]));
  const pages = [first, ...older];
  const next = pages.at(-1)?.next;
  const more = () =>
    runAndReport(async () => {
      const page = await get("/api/admin/acts", { query: { after: next } });
      setOlder((before) => [...before, page]);
    });
  return html`
    <${ActTable} acts=${pages.flatMap((page) => page.data)} />
    ${next && html`<p><button type="button" class="button" onClick=${more}>${t("acts.older")}</button></p>`}
  `;
}

/** Returns the action in words. */
function actWords(/** @type {string} */ what) {
  const deed = what.replaceAll(".", "_");
  return t(`acts.did_${deed}`);
}

function ActTable(/** @type {{acts: Act[]}} */ { acts }) {
  const columns = [
    { name: t("acts.at"), show: (/** @type {Act} */ act) => moment(act.at) },
    { name: t("acts.who"), show: (/** @type {Act} */ act) => html`<strong dir="auto">${act.who}</strong>` },
    { name: t("acts.what"), show: (/** @type {Act} */ act) => html`<span class="words">${actWords(act.what)}</span>` },
    { name: t("acts.target"), show: (/** @type {Act} */ act) => html`<span class="mono small clipped id" title=${act.target}>${act.target}</span>` },
    { name: t("acts.whose"), show: (/** @type {Act} */ act) => act.whose !== act.target && html`<span dir="auto">${act.whose}</span>` },
    { name: t("acts.details"), show: (/** @type {Act} */ act) => Object.entries(act.details).map(([name, value]) => `${name}: ${value}`).join(", ") },
  ];
  return html`<${Table} caption=${t("admin.acts")} columns=${columns} rows=${acts} keyOf=${(/** @type {Act} */ act) => act.id} />`;
}
