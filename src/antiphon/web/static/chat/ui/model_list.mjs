/** List of models that is searched by typing. */
import { models } from "../assistants.mjs";
import { findModels, nameOf } from "../models.mjs";
import { t, tCount } from "../t.mjs";
import { html, useId, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { short } from "./usage.mjs";

/** Models that are drawn at first, and each time that the end of the list is reached. */
const STEP = 60;

/** Models that Page Up and Page Down go over. */
const PAGE = 8;

/** Names in `lacks` that the list shows; the others are settings of a run. */
const LACKS = ["tools", "images", "files"];

/** @typedef {import("../assistants.mjs").Model} Model */

/** @param {{selected: string | null, usual: string, onPick: (model: string | null) => void, onClose: () => void, onDrawn: () => void}} props */
export function ModelList({ selected, usual, onPick, onClose, onDrawn }) {
  const [query, setQuery] = useState("");
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useId();
  useLayoutEffect(onDrawn, []);
  const matches = findModels(models.value ?? [], query);
  /** @type {(Model | null)[]} without a query, the first choice is the usual model */
  const choices = query.trim() ? matches : [null, ...matches];
  const chosen = Math.max(0, choices.findIndex((model) => (model?.id ?? null) === selected));
  const [active, setActive] = useState(chosen);
  const [drawn, setDrawn] = useState(Math.max(STEP, chosen + PAGE));
  useLayoutEffect(() => {
    list.current?.querySelector("[data-active]")?.scrollIntoView({ block: "nearest" });
  }, [active, query]);

  const search = (/** @type {any} */ event) => {
    setQuery(event.currentTarget.value);
    setActive(0);
    setDrawn(STEP);
  };
  const goTo = (/** @type {number} */ to) => {
    setActive(to);
    setDrawn((before) => Math.max(before, to + PAGE));
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    // The surroundings handle Esc too; the browser closes the list.
    if (event.key === "Escape") return event.stopPropagation();
    if (event.key === "Tab") return onClose();
    if (event.isComposing) return undefined;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE }[event.key];
    if (by === undefined && event.key !== "Enter") return undefined;
    event.preventDefault(); // Enter would send the form around the list
    if (choices.length === 0) return undefined;
    if (by === undefined) return onPick(choices[active]?.id ?? null);
    return goTo(Math.min(choices.length - 1, Math.max(0, active + by)));
  };
  const scrolled = (/** @type {any} */ { currentTarget: box }) => {
    if (box.scrollTop + box.clientHeight > box.scrollHeight - 200 && drawn < choices.length) setDrawn(drawn + STEP);
  };
  const option = (/** @type {Model | null} */ model, /** @type {number} */ index) => html`<${Option}
    key=${model?.id ?? ""} id=${`${id}-${index}`} model=${model} usual=${usual} place=${index + 1} count=${choices.length}
    chosen=${(model?.id ?? null) === selected} active=${index === active} onPick=${onPick}
  />`;
  const rows = choices.slice(0, drawn).map((model, index) => ({ provider: model?.provider ?? "", row: option(model, index) }));
  const groups = [...Map.groupBy(rows, ({ provider }) => provider)];
  return html`
    <div class="models-search">
      <${Icon} name="search" size=${18} />
      <input
        type="text" class="input" role="combobox" autocomplete="off" spellcheck="false" value=${query} placeholder=${t("models.search")}
        aria-label=${t("models.search")} aria-expanded="true" aria-controls=${`${id}-list`} aria-autocomplete="list"
        aria-activedescendant=${choices.length > 0 ? `${id}-${active}` : undefined} onInput=${search} onKeyDown=${keyed}
      />
    </div>
    <div class="models-list" id=${`${id}-list`} role="listbox" aria-label=${t("picker.model")} ref=${list} onScroll=${scrolled}>
      ${groups.map(([provider, options], place) =>
        provider
          ? html`<div key=${provider} role="group" aria-labelledby=${`${id}-of-${place}`}>
              <div class="models-provider" role="presentation" id=${`${id}-of-${place}`}>${provider}</div>
              ${options.map(({ row }) => row)}
            </div>`
          : options.map(({ row }) => row),
      )}
    </div>
    <p class="models-count muted small" role="status">${models.value === null ? t("common.loading") : matches.length > 0 ? tCount("models.count", matches.length) : t("models.none_found")}</p>
  `;
}

/** @param {{id: string, model: Model | null, usual: string, place: number, count: number, chosen: boolean, active: boolean, onPick: (model: string | null) => void}} props */
function Option({ id, model, usual, place: at, count, chosen, active, onPick }) {
  const details = model ? capabilities(model) : [];
  return html`<div
    id=${id} class="models-option" role="option" aria-selected=${chosen} aria-setsize=${count} aria-posinset=${at} data-active=${active || undefined}
    onPointerDown=${(/** @type {Event} */ event) => event.preventDefault()} onClick=${() => onPick(model?.id ?? null)}
  >
    <span class="grow"><span class="block">${model ? nameOf(model) : usual}</span>${details.length > 0 && html`<span class="hint block">${details.join(" · ")}</span>`}</span>
    ${chosen && html`<${Icon} name="check" size=${18} />`}
  </div>`;
}

/** Returns what is known of a model, in words. @param {Model} model */
function capabilities(model) {
  return [
    model.default && t("models.usual"),
    model.context_tokens && t("models.holds", { tokens: short(model.context_tokens) }),
    ...LACKS.filter((name) => model.lacks.includes(name)).map((name) => t(`models.without_${name}`)),
  ].filter(Boolean);
}
