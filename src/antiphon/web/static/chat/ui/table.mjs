/**
 * A table that becomes a list of cards where there is no room for columns.
 *
 * The roles are written out: without a layout of a table, browsers take its rows for plain boxes.
 */
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
  return html`<table class="table" role="table">
    <caption class="visually-hidden">${caption}</caption>
    <thead role="rowgroup">
      <tr role="row">${columns.map(({ name, number }) => html`<th key=${name} scope="col" role="columnheader" class=${number ? "number" : ""}>${name || html`<span class="visually-hidden">${t("common.actions")}</span>`}</th>`)}</tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row) => html`<tr key=${keyOf(row)} role="row">
          ${columns.map(({ name, show, number }) => html`<td key=${name} role="cell" data-name=${name} class=${number ? "number numbers" : ""}><div class="cell">${show(row)}</div></td>`)}
        </tr>`,
      )}
    </tbody>
  </table>`;
}
