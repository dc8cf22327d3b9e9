/** Editor of an assistant: name, model, instructions, starters, tools, limits. */
import { saveAssistant, linkOf, shareAssistant, unshareAssistant } from "../assistants.mjs";
import { navigate } from "../router.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useId, useState } from "../vendor/ui.mjs";
import { DocumentFiles } from "./document_files.mjs";
import { Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { ModelPicker } from "./model_picker.mjs";
import { Publish } from "./published.mjs";
import { toast, runAndReport } from "./toasts.mjs";
import { ToolChoice } from "./tool_choice.mjs";

/** @typedef {import("../assistants.mjs").Assistant} Assistant */

/** @param {{assistant: Assistant | null}} props null for a new one */
export function AssistantEditor({ assistant }) {
  const keep = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    await saveAssistant(assistant?.id ?? null, fieldsOf(values, new FormData(form)));
    toast({ text: t("assistants.saved") });
    navigate("/assistants");
  };
  return html`<div class="stack editor">
    <${Form} onSubmit=${keep} action=${t("common.save")} onCancel=${() => navigate("/assistants")} className="stack wide-gaps">
      <${Field} label=${t("assistants.name")}>
        <input class="input" name="name" required maxlength="100" dir="auto" defaultValue=${assistant?.name ?? ""} autofocus=${!assistant} />
      <//>
      <${ModelField} model=${assistant?.model ?? null} />
      <${Field} label=${t("assistants.instructions")} hint=${t("assistants.instructions_hint")}>
        <textarea class="input" name="instructions" rows="8" dir="auto" defaultValue=${assistant?.instructions ?? ""}></textarea>
      <//>
      <${Field} label=${t("assistants.starters")} hint=${t("assistants.starters_hint")}>
        <textarea class="input" name="starters" rows="4" dir="auto" defaultValue=${(assistant?.starters ?? []).join("\n")}></textarea>
      <//>
      <${DocumentFiles} fileIds=${assistant?.file_ids ?? []} label=${t("assistants.files")} hint=${t("assistants.files_hint")} />
      <${ToolChoice} tools=${assistant?.tools ?? null} servers=${assistant?.mcp_servers ?? null} />
      <${Limits} assistant=${assistant} />
    <//>
    ${assistant && html`<${Share} assistant=${assistant} /><${Publish} assistant=${assistant} />`}
  </div>`;
}

/** Returns the form's fields as the request body. */
function fieldsOf(/** @type {Record<string, string>} */ values, /** @type {FormData} */ form) {
  const lines = values.starters.split("\n").map((line) => line.trim());
  const limit = (/** @type {string} */ name) => (values[name] ? Number(values[name]) : null);
  return {
    name: values.name.trim(),
    instructions: values.instructions.trim() || null,
    model: values.model || null,
    tools: values.every_tool ? null : form.getAll("tool").map(String),
    mcp_servers: values.every_tool ? null : form.getAll("server").map(String),
    starters: lines.filter(Boolean),
    file_ids: form.getAll("file_id").map(String),
    max_tool_calls: limit("max_tool_calls"),
    max_output_tokens: limit("max_output_tokens"),
  };
}

function ModelField(/** @type {{model: string | null}} */ { model }) {
  const [picked, setPicked] = useState(model);
  const id = useId();
  return html`<div class="field">
    <span class="label" id=${id}>${t("assistants.model")}</span>
    <${ModelPicker}
      selected=${picked} usual=${t("assistants.model_usual", { model: me.value?.model ?? "" })} onPick=${setPicked}
      labelId=${id} name="model" className="input pick-field"
    />
  </div>`;
}

/** Limits of each answer; an empty field is none. */
function Limits(/** @type {{assistant: Assistant | null}} */ { assistant }) {
  return html`<fieldset>
    <legend class="label">${t("assistants.limits")}</legend>
    <p class="hint">${t("assistants.limits_hint")}</p>
    <div class="limits">
      <${Field} label=${t("assistants.max_tool_calls")}>
        <input class="input" type="number" name="max_tool_calls" min="1" max="10000" defaultValue=${assistant?.max_tool_calls ?? ""} />
      <//>
      <${Field} label=${t("assistants.max_output_tokens")}>
        <input class="input" type="number" name="max_output_tokens" min="1" max="1000000000" defaultValue=${assistant?.max_output_tokens ?? ""} />
      <//>
    </div>
  </fieldset>`;
}

/** The assistant's link, created and removed independently of the form. */
export function Share(/** @type {{assistant: Assistant}} */ { assistant }) {
  const link = assistant.shared ? linkOf(assistant.shared) : null;
  const copy = async () => {
    if (await runAndReport(() => navigator.clipboard.writeText(link ?? ""))) toast({ text: t("common.copied") });
  };
  return html`<section class="card stack" aria-labelledby="share">
    <div>
      <h2 id="share">${t("assistants.share")}</h2>
      <p class="muted">${t("assistants.share_hint")}</p>
    </div>
    ${link
      ? html`<div class="row">
          <input class="input grow" readonly value=${link} aria-label=${t("assistants.share_link")} onFocus=${(/** @type {any} */ event) => event.currentTarget.select()} />
          <button type="button" class="button" onClick=${copy}><${Icon} name="copy" size=${18} />${t("common.copy")}</button>
          <button type="button" class="button quiet" onClick=${() => runAndReport(() => unshareAssistant(assistant.id))}>${t("assistants.unshare")}</button>
        </div>`
      : html`<div class="row"><button type="button" class="button" onClick=${() => runAndReport(() => shareAssistant(assistant.id))}>
          <${Icon} name="link" size=${18} />${t("assistants.share_make")}
        </button></div>`}
  </section>`;
}
