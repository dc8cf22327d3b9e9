/** Loading of a view's data: spinner, error, and retry. */
import { t } from "../t.mjs";
import { html, useCallback, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { sentence } from "./toasts.mjs";

/**
 * Loads data when the view is first shown and whenever `again` is called. The newest request counts,
 * whichever response comes last.
 *
 * @template Data
 * @param {() => Promise<Data>} load
 * @param {readonly unknown[]} [inputs] values that cause a new request when they change
 * @returns {{data: Data | undefined, problem: unknown, again: () => Promise<void>}}
 */
export function useLoad(load, inputs = []) {
  const [state, setState] = useState({ data: undefined, problem: null });
  const asked = useRef(0);
  const again = useCallback(async () => {
    asked.current += 1;
    const mine = asked.current;
    try {
      const data = await load();
      if (mine === asked.current) setState({ data, problem: null });
    } catch (problem) {
      if (mine === asked.current) setState((before) => ({ ...before, problem }));
    }
  }, inputs);
  useEffect(() => {
    again();
    return () => {
      asked.current += 1;
    };
  }, inputs);
  return { ...state, again };
}

/**
 * Shows `children(data)` once it is there.
 *
 * @param {{of: {data: any, problem: unknown, again: () => void}, children?: any}} props
 */
export function Loaded({ of: { data, problem, again }, children }) {
  const trouble = problem && html`<div class="note bad row apart" role="alert">
    <span class="grow">${sentence(problem)}</span>
    <button type="button" class="button small" onClick=${again}>${t("common.again")}</button>
  </div>`;
  if (data !== undefined) return html`${trouble}${[children].flat()[0](data)}`;
  return trouble || html`<p class="waiting muted" role="status"><span class="spinner" aria-hidden="true"></span>${t("common.loading")}</p>`;
}
