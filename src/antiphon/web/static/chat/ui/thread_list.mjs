/** The list of threads: the pinned ones, then by day; or what a search found. */
import { groupByDay, keyOf } from "../day_groups.mjs";
import { away, found, me, threads } from "../store.mjs";
import { language, t } from "../t.mjs";
import { isWhole, moreThreads } from "../threads.mjs";
import { html } from "../vendor/ui.mjs";
import { laterView } from "./later_view.mjs";
import { Hit, ThreadRow } from "./thread_row.mjs";

const Folders = laterView(() => import("./folders.mjs").then((module) => module.Folders), { silent: true });

export function ThreadList() {
  const { data, next, query, archived, tag } = threads.value;
  const hits = query ? Map.groupBy(found.value.data, ({ thread_id }) => thread_id) : new Map();
  const listed = new Set((data ?? []).map(({ id }) => id));
  const all = isWhole(threads.value);
  const elsewhere = [...hits.values()].flat().filter(({ thread_id }) => !listed.has(thread_id));
  if (!data?.length && !elsewhere.length) {
    const none = archived ? t("sidebar.nothing_archived") : t("sidebar.nothing_yet");
    const said = away.value && !me.value ? t("sidebar.away") : query ? t("sidebar.nothing_found", { query }) : tag ? t("sidebar.nothing_tagged", { tag }) : none;
    return html`<div class="threads">${all && html`<${Folders} />`}<p class="side-empty muted small">${said}</p></div>`;
  }
  return html`<div class="threads" onScroll=${moreAtEnd}>
    ${all && html`<${Folders} />`}
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

function dayName(/** @type {import("../day_groups.mjs").Group<any>["day"]} */ day) {
  if ("name" in day) return t(`days.${day.name}`);
  return new Intl.DateTimeFormat(language.value, { month: "long", year: "numeric" }).format(day.month);
}

function moreAtEnd(/** @type {Event} */ event) {
  const list = /** @type {HTMLElement} */ (event.currentTarget);
  if (list.scrollTop + list.clientHeight > list.scrollHeight - 200) moreThreads();
}
