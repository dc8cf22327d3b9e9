/** The person's own prompts: in the settings, on the start page, and the form for one of them. */
import { countPlaces } from "../places.mjs";
import { deletePrompt, loadPrompts, prompts, savePrompt, toFill } from "../prompts.mjs";
import { me } from "../store.mjs";
import { t, tCount } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Menu } from "./menu.mjs";
import { runAndReport } from "./toasts.mjs";

/** @typedef {import("../prompts.mjs").Prompt} Prompt */

/** Loads the prompts of the person, when something that shows them is shown. */
function usePrompts() {
  const person = me.value?.person?.id;
  useEffect(() => {
    if (person && !prompts.value) void runAndReport(loadPrompts, { unasked: true });
  }, [person]);
  return prompts.value ?? [];
}

/** Section of the settings with all prompts. */
export function PromptSettings() {
  const all = usePrompts();
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  return html`<section class="stack" aria-labelledby="prompts">
    <div>
      <h3 id="prompts">${t("prompts.title")}</h3>
      <p class="muted">${t("prompts.hint")}</p>
    </div>
    ${all.length > 0 &&
    html`<ul class="prompts">
      ${all.map((prompt) => html`<li key=${prompt.name} class="row">
        <span class="grow">
          <strong class="block" dir="auto">/${prompt.name}</strong>
          <span class="hint clipped block" dir="auto">${prompt.text}</span>
        </span>
        ${prompt.starter && html`<span class="badge">${t("prompts.starter")}</span>`}
        <${PromptMenu} prompt=${prompt} setDialog=${setDialog} onClose=${close} />
      </li>`)}
    </ul>`}
    <div class="row">
      <button type="button" class="button" onClick=${() => setDialog(html`<${PromptDialog} starter=${false} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("prompts.add")}
      </button>
    </div>
    ${dialog}
  </section>`;
}

/**
 * The person's own starters, and a button to add one.
 *
 * @param {{onPick: (text: string) => void}} props
 */
export function OwnStarters({ onPick }) {
  const own = usePrompts().filter(({ starter }) => starter);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const begin = (/** @type {Prompt} */ { text }) => {
    if (countPlaces(text) > 0) toFill.value = text;
    else onPick(text);
  };
  if (!prompts.value) return null;
  return html`
    ${own.length > 0 &&
    html`<ul class="starter-list" aria-label=${t("prompts.starters")}>
      ${own.map((prompt) => html`<li key=${prompt.name} class="own-starter">
        <button type="button" class="starter" dir="auto" onClick=${() => begin(prompt)}>
          <span class="grow starter-text">${prompt.text}</span>
        </button>
        <${PromptMenu} prompt=${prompt} setDialog=${setDialog} onClose=${close} />
      </li>`)}
    </ul>`}
    <button type="button" class="button quiet small" onClick=${() => setDialog(html`<${PromptDialog} starter=${true} onClose=${close} />`)}>
      <${Icon} name="new" size=${16} />${t("prompts.add_starter")}
    </button>
    ${dialog}
  `;
}

/** @param {{prompt: Prompt, setDialog: (dialog: any) => void, onClose: () => void}} props */
function PromptMenu({ prompt, setDialog, onClose }) {
  const choices = [
    { label: t("common.edit"), icon: "edit", run: () => setDialog(html`<${PromptDialog} prompt=${prompt} starter=${prompt.starter} onClose=${onClose} />`) },
    { label: t("prompts.remove"), icon: "trash", danger: true, run: () => setDialog(html`<${Removal} prompt=${prompt} onClose=${onClose} />`) },
  ];
  return html`<${Menu} label=${t("prompts.actions", { name: prompt.name })} choices=${choices} />`;
}

/** @param {{prompt?: Prompt, starter: boolean, onClose: () => void}} props */
function PromptDialog({ prompt, starter, onClose }) {
  const [text, setText] = useState(prompt?.text ?? "");
  const places = countPlaces(text);
  const save = async (/** @type {Record<string, string>} */ values) => {
    await savePrompt(prompt?.name ?? null, { name: values.name.trim(), text: values.text.trim(), starter: values.starter === "on" });
    onClose();
  };
  return html`<${Dialog} title=${t(prompt ? "prompts.edit" : "prompts.add")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}>
      <${Field} label=${t("prompts.name")} hint=${t("prompts.name_hint")}>
        <input
          class="input" name="name" required maxlength="40" pattern="[\\p{L}\\p{N}_\\-]+" title=${t("prompts.name_hint")} autocomplete="off" spellcheck="false"
          dir="auto" defaultValue=${prompt?.name ?? ""}
        />
      <//>
      <${Field} label=${t("prompts.text")} hint=${t("prompts.text_hint")}>
        <textarea
          class="input" name="text" rows="6" required maxlength="8000" dir="auto" defaultValue=${prompt?.text ?? ""}
          onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
        ></textarea>
      <//>
      <p class="hint" role="status">${places > 0 ? tCount("prompts.places", places) : ""}</p>
      <${Check} name="starter" label=${t("prompts.on_start")} defaultChecked=${starter} />
    <//>
  <//>`;
}

/** @param {{prompt: Prompt, onClose: () => void}} props */
function Removal({ prompt, onClose }) {
  return html`<${ConfirmDialog}
    title=${t("prompts.remove_title", { name: prompt.name })} text=${t("prompts.remove_text")} action=${t("prompts.remove")}
    onConfirm=${() => deletePrompt(prompt.name)} onClose=${onClose}
  />`;
}
