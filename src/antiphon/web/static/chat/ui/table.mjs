/** A table that becomes a list of cards where there is no room for columns. */
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";

/**
 * @template Row
 * @typedef {{name: string, show: (row: Row) => any, number?: boolean}} Column  one without a name has the row's buttons
 */

/**
 * @template Row
 * @param {{caption: string, columns: Column<Row>[], rows: readonly Row[], keyOf: (row: Row) => string}} props
 */
export function Table({ caption, columns, rows, keyOf }) {
  return html`<table class="table">
    <caption class="visually-hidden">${caption}</caption>
    <thead>
      <tr>${columns.map(({ name, number }) => html`<th key=${name} scope="col" class=${number ? "number" : ""}>${name || html`<span class="visually-hidden">${t("common.actions")}</span>`}</th>`)}</tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) => html`<tr key=${keyOf(row)}>
          ${columns.map(({ name, show, number }) => html`<td key=${name} data-name=${name} class=${number ? "number numbers" : ""}>${show(row)}</td>`)}
        </tr>`,
      )}
    </tbody>
  </table>`;
}
