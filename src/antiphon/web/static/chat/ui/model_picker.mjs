/** Choice of a model: a button with its name, which opens the list of models. */
import { loadModels, models } from "../assistants.mjs";
import { nameOf } from "../models.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useId, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { place } from "./menu.mjs";
import { runAndReport } from "./toasts.mjs";

const ModelList = laterView(() => import("./model_list.mjs").then((module) => module.ModelList));

/**
 * `usual` is the text for no choice. `labelId` is the element with the button's label, if
 * it is in view; `name` that of the field in a form; `bare` if the button is only its icon.
 *
 * @param {{selected: string | null, usual: string, onPick: (model: string | null) => void, title?: string, icon?: "model" | "compare", bare?: boolean, labelId?: string, name?: string, className?: string}} props
 */
export function ModelPicker({ selected, usual, onPick, title = t("picker.model"), icon = "model", bare = false, labelId, name, className = bare ? "icon-button" : "pick-button" }) {
  const [open, setOpen] = useState(false);
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  const panel = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    if (!models.value) void runAndReport(loadModels, { unasked: true });
  }, []);
  const known = models.value?.find((model) => model.id === selected);
  const shown = selected ? (known ? nameOf(known) : selected) : usual;
  const opens = (/** @type {ToggleEvent} */ event) => event.newState === "open" && setOpen(true);
  const toggled = (/** @type {ToggleEvent} */ event) => {
    // The list goes after the browser has put the focus back.
    if (event.newState !== "open") return setOpen(false);
    return enter();
  };
  const enter = () => {
    if (!panel.current?.matches(":popover-open")) return;
    place(panel.current, button.current);
    panel.current.querySelector("[data-active]")?.scrollIntoView({ block: "nearest" });
    panel.current.querySelector("input")?.focus();
  };
  const pick = (/** @type {string | null} */ model) => {
    panel.current.hidePopover();
    button.current.focus();
    onPick(model);
  };
  return html`
    <button
      type="button" class=${className} ref=${button} popovertarget=${id} aria-haspopup="dialog" aria-expanded=${open} aria-controls=${id}
      title=${bare ? title : undefined} aria-label=${labelId ? undefined : bare ? title : `${title}: ${shown}`} aria-labelledby=${labelId ? `${labelId} ${id}-value` : undefined}
    >
      <${Icon} name=${icon} size=${bare ? 20 : 16} />${!bare && html`<span class="clipped grow" id=${`${id}-value`}>${shown}</span><${Icon} name="down" size=${14} />`}
    </button>
    ${name && html`<input type="hidden" name=${name} value=${selected ?? ""} />`}
    <div
      id=${id} class="menu floating models" role="dialog" aria-label=${title} popover="auto" ref=${panel}
      onBeforeToggle=${opens} onToggle=${toggled}
    >${open && html`<${ModelList} selected=${selected} usual=${usual} onPick=${pick} onClose=${() => panel.current.hidePopover()} onDrawn=${enter} />`}</div>
  `;
}
