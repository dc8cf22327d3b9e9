/** Dialog with the options of the open chat. */
import { chosenAssistant, loadModels, models } from "../assistants.mjs";
import { me, prefs, threadOptions } from "../store.mjs";
import { t } from "../t.mjs";
import { choiceOf, globsOf, saveOptions } from "../thread_options.mjs";
import { html, useEffect } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";
import { runAndReport } from "./toasts.mjs";
import { ToolChoice } from "./tool_choice.mjs";

const EFFORTS = ["none", "minimal", "low", "medium", "high"];

/** @typedef {import("../thread_options.mjs").ThreadOptions} ThreadOptions */

/** @param {{differs: boolean, onClose: () => void}} props */
export function OptionsDialog({ differs, onClose }) {
  useEffect(() => {
    if (!models.value) void runAndReport(loadModels);
  }, []);
  const has = threadOptions.value;
  const answering = prefs.value.model ?? chosenAssistant.value?.model ?? me.value?.model;
  const lacks = new Set(models.value?.find(({ id }) => id === answering)?.lacks ?? []);
  const servers = (me.value?.servers ?? []).map((/** @type {{name: string}} */ { name }) => name);
  const choice = choiceOf(has.allowed_tools, servers);
  const save = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    await saveOptions(optionsOf(values, new FormData(form), has));
    onClose();
  };
  const reset = async () => {
    if (await runAndReport(async () => (await saveOptions({}), true))) onClose();
  };
  const efforts = [...new Set([...EFFORTS, has.reasoning_effort].filter((each) => each !== undefined))];
  return html`<${Dialog} title=${t("options.title")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}>
      <p class="muted small">${t("options.hint")}</p>
      ${!lacks.has("temperature") &&
      html`<${Field} label=${t("options.temperature")} hint=${t("options.temperature_hint")}>
        <input class="input" type="number" name="temperature" min="0" max="2" step="any" placeholder=${t("options.usual")} defaultValue=${has.temperature ?? ""} />
      <//>`}
      ${!lacks.has("reasoning_effort") &&
      html`<${Field} label=${t("options.effort")}>
        <select class="input" name="reasoning_effort">
          <option value="" selected=${!has.reasoning_effort}>${t("options.usual")}</option>
          ${efforts.map((effort) => html`<option key=${effort} value=${effort} selected=${effort === has.reasoning_effort}>${effort}</option>`)}
        </select>
      <//>`}
      ${!lacks.has("max_output_tokens") &&
      html`<${Field} label=${t("options.length")} hint=${t("options.length_hint")}>
        <input class="input" type="number" name="max_output_tokens" min="1" max="1000000000" placeholder=${t("options.usual")} defaultValue=${has.max_output_tokens ?? ""} />
      <//>`}
      ${!lacks.has("tools") && html`<${ToolChoice} tools=${choice.tools} servers=${choice.servers} />`}
      ${differs && html`<button type="button" class="button quiet" onClick=${reset}>${t("options.reset")}</button>`}
    <//>
  <//>`;
}

/**
 * Returns the options that the form shows, and those that it hides as they were.
 *
 * @param {Record<string, string>} values @param {FormData} form @param {ThreadOptions} before
 * @returns {ThreadOptions}
 */
function optionsOf(values, form, before) {
  const options = { ...before };
  for (const name of /** @type {const} */ (["temperature", "max_output_tokens"])) {
    if (values[name]) options[name] = Number(values[name]);
    else if (name in values) delete options[name];
  }
  if (values.reasoning_effort) options.reasoning_effort = values.reasoning_effort;
  else if ("reasoning_effort" in values) delete options.reasoning_effort;
  if (form.has("every_tool")) delete options.allowed_tools;
  else if (me.value?.tools.length) options.allowed_tools = globsOf(form.getAll("tool").map(String), form.getAll("server").map(String));
  return options;
}
