/** Choice of assistant, model and system prompt. */
import { assistants, chosenAssistant, loadAssistants, models, published } from "../assistants.mjs";
import { revealText } from "../hidden_characters.mjs";
import { compareWith, me, prefs, threadSystem } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { laterView } from "./later_view.mjs";
import { ModelPicker } from "./model_picker.mjs";
import { runAndReport } from "./toasts.mjs";

const OwnStarters = laterView(() => import("./prompts.mjs").then((module) => module.OwnStarters), { silent: true });

const SystemDialog = laterView(() => import("./system_dialog.mjs").then((module) => module.SystemDialog), { over: true });

/** @typedef {import("../assistants.mjs").Assistant} Assistant */

/** The assistant and the model of the next message. */
export function Picker() {
  useEffect(() => {
    if (!assistants.value) void runAndReport(loadAssistants, { unasked: true });
  }, []);
  return html`<div class=${compareWith.value ? "picker two" : "picker"}>
    ${Boolean(assistants.value?.length || published.value?.length) && html`<${AssistantPick} />`}
    <${ModelPick} />
    ${(models.value?.length ?? 0) > 1 && html`<${ModelPicker}
      title=${t("compare.with")} icon="compare" bare=${!compareWith.value} selected=${compareWith.value} usual=${t("compare.none")}
      onPick=${(/** @type {string | null} */ model) => (compareWith.value = model)}
    />`}
  </div>`;
}

function AssistantPick() {
  const others = published.value ?? [];
  const option = (/** @type {Assistant} */ { id, name, author }) => {
    const words = revealText(name) || t("assistants.unnamed");
    return html`<option key=${id} value=${id} selected=${id === chosenAssistant.value?.id}>${author ? `${words} · ${revealText(author)}` : words}</option>`;
  };
  const take = (/** @type {any} */ event) => {
    prefs.value = { ...prefs.value, assistant: event.currentTarget.value || null, model: null };
  };
  return html`<label class="pick">
    <${Icon} name="assistant" size=${16} />
    <span class="visually-hidden">${t("picker.assistant")}</span>
    <select onChange=${take}>
      <option value="" selected=${!chosenAssistant.value}>${t("picker.no_assistant")}</option>
      ${assistants.value?.map(option)}
      ${others.length > 0 && html`<optgroup label=${t("assistants.of_others")}>${others.map(option)}</optgroup>`}
    </select>
  </label>`;
}

function ModelPick() {
  const take = (/** @type {string | null} */ model) => {
    prefs.value = { ...prefs.value, model };
  };
  return html`<${ModelPicker} selected=${prefs.value.model} usual=${defaultModelName()} onPick=${take} />`;
}

/** Returns the name of the default model. */
function defaultModelName() {
  const model = chosenAssistant.value?.model ?? me.value?.model;
  return model ? t("picker.usual_model", { model: model.split(":").slice(1).join(":") || model }) : t("picker.no_model");
}

/** Button that opens the system prompt of the thread. */
export function SystemPrompt() {
  const [open, setOpen] = useState(false);
  const label = t(threadSystem.value ? "system.edit" : "system.add");
  return html`
    <button
      type="button" class=${threadSystem.value ? "icon-button on" : "icon-button"} aria-label=${label} title=${label}
      aria-haspopup="dialog" onClick=${() => setOpen(true)}
    ><${Icon} name="system" /></button>
    ${open && html`<${SystemDialog} onClose=${() => setOpen(false)} />`}
  `;
}

/** Questions to begin with where an assistant names none, each with the tool that answers it. */
const SUGGESTED = { flights: "get_flight_times", weather: "get_weather", arithmetic: "calculate" };

/** Returns the starters for which this chat has a tool. */
function suggestedStarters() {
  const offered = new Set((me.value?.tools ?? []).map((/** @type {{name: string}} */ tool) => tool.name));
  return Object.entries(SUGGESTED).filter(([, tool]) => offered.has(tool)).map(([about]) => t(`starters.${about}`));
}

/** Empty thread: a greeting, and questions to start with. */
export function Starters(/** @type {{onPick: (text: string) => void, children?: any}} */ { onPick, children }) {
  const assistant = chosenAssistant.value;
  const own = assistant?.starters ?? [];
  // Before the person is known, nothing can be sent for them.
  const questions = me.value === null ? [] : own.length > 0 ? own : suggestedStarters();
  return html`<div class="starters">
    <h1 dir="auto">${assistant?.name || t("starters.greeting")}</h1>
    <p class="muted">${assistant ? t("starters.with_assistant") : t("starters.hint")}</p>
    <ul class="starter-list">
      ${questions.map(
        (question) => html`<li key=${question}>
          <button type="button" class="starter" dir="auto" onClick=${() => onPick(question)}>
            <span class="grow">${question}</span><${Icon} name="right" size=${18} />
          </button>
        </li>`,
      )}
    </ul>
    ${me.value && html`<${OwnStarters} onPick=${onPick} />`}
    ${children}
  </div>`;
}
