/** Usage charts: a bar for each day, and rankings of owners and models. */
import { get } from "../api.mjs";
import { MEASURES, sumByDay, rank, sum } from "../usage_sums.mjs";
import { language, t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { day } from "./times.mjs";
import { money, short } from "./usage.mjs";

/**
 * @typedef {import("../usage_sums.mjs").Row} Row
 * @typedef {import("../usage_sums.mjs").Measure} Measure
 */

const SPANS = [7, 30, 90];
const HEIGHT = 160;

export function UsageCharts() {
  const [days, setDays] = useState(30);
  const [measure, setMeasure] = useState(/** @type {Measure} */ ("tokens"));
  const loaded = useLoad(() => get(`/api/admin/usage?days=${days}`), [days]);
  return html`
    <div class="row apart">
      <h2>${t("admin.usage")}</h2>
      <div class="row">
        <select class="input short" aria-label=${t("charts.span")} value=${days} onChange=${(/** @type {any} */ event) => setDays(Number(event.currentTarget.value))}>
          ${SPANS.map((span) => html`<option key=${span} value=${span}>${t("charts.days", { count: span })}</option>`)}
        </select>
        <select class="input short" aria-label=${t("charts.measure")} value=${measure} onChange=${(/** @type {any} */ event) => setMeasure(event.currentTarget.value)}>
          ${MEASURES.map((one) => html`<option key=${one} value=${one}>${t(`charts.${one}`)}</option>`)}
        </select>
      </div>
    </div>
    <${Loaded} of=${loaded}>${({ data, cut }) => html`
      ${cut && html`<p class="note">${t("charts.cut")}</p>`}
      <${Charts} rows=${data} days=${days} measure=${measure} />`}<//>
  `;
}

function Charts(/** @type {{rows: Row[], days: number, measure: Measure}} */ { rows, days, measure }) {
  if (rows.length === 0) return html`<p class="empty">${t("charts.none")}</p>`;
  const unpriced = measure === "cost" ? sum(rows, "unpriced") : 0;
  const named = rows.map((row) => (row.owner === "local" ? { ...row, person: t("people.everybody") } : row));
  return html`
    <p class="total"><strong class="numbers">${formatAmount(sum(rows, measure), measure)}</strong> <span class="muted">${t(`charts.total_${measure}`, { count: days })}</span></p>
    ${unpriced > 0 && html`<p class="muted small">${t("charts.unpriced", { count: short(unpriced) })}</p>`}
    <${Days} rows=${rows} days=${days} measure=${measure} />
    <div class="rankings">
      <${Ranking} title=${t("charts.by_model")} ranking=${rank(rows, "model", measure)} measure=${measure} />
      <${Ranking} title=${t("charts.by_person")} ranking=${rank(named, "person", measure)} measure=${measure} />
    </div>
  `;
}

function Days(/** @type {{rows: Row[], days: number, measure: Measure}} */ { rows, days, measure }) {
  const bars = sumByDay(rows, measure, days, new Date());
  const most = Math.max(...bars.map((bar) => bar.amount));
  const step = 100 / bars.length;
  return html`<figure class="chart">
    <svg width="100%" height=${HEIGHT} role="img" aria-label=${describeBars(bars, measure)}>
      ${bars.map(({ day: name, amount }, index) => {
        const height = amount > 0 ? Math.max(2, (amount / most) * (HEIGHT - 8)) : 0;
        return html`<g key=${name}>
          <rect class="bar" x=${`${(index + 0.14) * step}%`} y=${HEIGHT - height} width=${`${step * 0.72}%`} height=${height} rx="3" />
          <rect class="bar-field" x=${`${index * step}%`} y="0" width=${`${step}%`} height=${HEIGHT}><title>${`${day(name)}: ${formatAmount(amount, measure)}`}</title></rect>
        </g>`;
      })}
    </svg>
    <figcaption class="row apart muted small"><span>${day(bars[0].day)}</span><span>${t("charts.most", { amount: formatAmount(most, measure) })}</span><span>${t("days.today")}</span></figcaption>
  </figure>`;
}

function Ranking(/** @type {{title: string, ranking: {name: string, amount: number}[], measure: Measure}} */ { title, ranking, measure }) {
  const most = ranking[0]?.amount || 1;
  return html`<section class="card stack">
    <h3>${title}</h3>
    <ul class="ranking">
      ${ranking.slice(0, 12).map(
        ({ name, amount }) => html`<li key=${name}>
          <span class="row apart"><span class="clipped grow" dir="auto" title=${name}>${name}</span><span class="numbers">${formatAmount(amount, measure)}</span></span>
          <${Meter} share=${amount / most} />
        </li>`,
      )}
    </ul>
  </section>`;
}

/** A bar as long as the share; set from here, for the page allows no styles in its markup. */
function Meter(/** @type {{share: number}} */ { share }) {
  const bar = useRef(/** @type {any} */ (null));
  useEffect(() => {
    bar.current.style.width = `${Math.max(share * 100, 1)}%`;
  }, [share]);
  return html`<span class="meter" aria-hidden="true"><span ref=${bar}></span></span>`;
}

function formatAmount(/** @type {number} */ amount, /** @type {Measure} */ measure) {
  if (measure === "audio") return formatMinutes(amount / 60);
  return measure === "cost" ? money(amount) : short(amount);
}

/** @param {number} minutes */
const formatMinutes = (minutes) =>
  new Intl.NumberFormat(language.value, { style: "unit", unit: "minute", unitDisplay: "short", maximumFractionDigits: 1 }).format(minutes);

function describeBars(/** @type {{day: string, amount: number}[]} */ bars, /** @type {Measure} */ measure) {
  const used = bars.filter((bar) => bar.amount > 0);
  return [t(`charts.${measure}`), ...used.map((bar) => `${day(bar.day)}: ${formatAmount(bar.amount, measure)}`)].join(", ");
}
