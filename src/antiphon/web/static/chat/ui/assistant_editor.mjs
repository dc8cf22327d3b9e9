/** Editor of an assistant: name, model, instructions, tools, starters. */
import { saveAssistant, linkOf, loadModels, models, shareAssistant, unshareAssistant } from "../assistants.mjs";
import { navigate } from "../router.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { ModelOptions } from "./picker.mjs";
import { toast, runAndReport } from "./toasts.mjs";

/** @typedef {import("../assistants.mjs").Assistant} Assistant */

/** @param {{assistant: Assistant | null}} props null for a new one */
export function AssistantEditor({ assistant }) {
  useEffect(() => {
    if (!models.value) runAndReport(loadModels);
  }, []);
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
      <${Field} label=${t("assistants.instructions")} hint=${t("assistants.instructions_hint")}>
        <textarea class="input" name="instructions" rows="8" dir="auto" defaultValue=${assistant?.instructions ?? ""}></textarea>
      <//>
      <${ModelField} model=${assistant?.model ?? ""} />
      <${Tools} tools=${assistant?.tools ?? null} servers=${assistant?.mcp_servers ?? null} />
      <${Field} label=${t("assistants.starters")} hint=${t("assistants.starters_hint")}>
        <textarea class="input" name="starters" rows="4" dir="auto" defaultValue=${(assistant?.starters ?? []).join("\n")}></textarea>
      <//>
    <//>
    ${assistant && html`<${Share} assistant=${assistant} />`}
  </div>`;
}

/** Returns the form's fields as the request body. */
function fieldsOf(/** @type {Record<string, string>} */ values, /** @type {FormData} */ form) {
  const lines = values.starters.split("\n").map((line) => line.trim());
  return {
    name: values.name.trim(),
    instructions: values.instructions.trim() || null,
    model: values.model || null,
    tools: values.every_tool ? null : form.getAll("tool").map(String),
    mcp_servers: values.every_tool ? null : form.getAll("server").map(String),
    starters: lines.filter(Boolean),
  };
}

function ModelField(/** @type {{model: string}} */ { model }) {
  const listed = (models.value ?? []).some((one) => one.id === model);
  return html`<${Field} label=${t("assistants.model")}>
    <select class="input" name="model">
      <option value="" selected=${!model}>${t("assistants.model_usual", { model: me.value?.model ?? "" })}</option>
      ${model && !listed && html`<option value=${model} selected>${model}</option>`}
      <${ModelOptions} selected=${model} />
    </select>
  <//>`;
}

/** Tools of the assistant: all, or the ticked ones and those of ticked servers. */
function Tools(/** @type {{tools: string[] | null, servers: string[] | null}} */ { tools, servers }) {
  const [every, setEvery] = useState(tools === null && servers === null);
  const offered = me.value?.tools ?? [];
  // Without a list, all functions of the app may be used, and of servers those that are named.
  const functions = () => offered.filter((/** @type {any} */ tool) => !tool.server).map((/** @type {any} */ tool) => tool.name);
  const picked = tools ?? (servers === null ? [] : functions());
  const names = [...new Set([...offered.map((/** @type {any} */ tool) => tool.name), ...picked])];
  const known = (me.value?.servers ?? []).map((/** @type {any} */ server) => server.name);
  if (names.length === 0 && known.length === 0) return html`<input type="hidden" name="every_tool" value="on" />`;
  const toldOf = (/** @type {string} */ name) => offered.find((/** @type {any} */ tool) => tool.name === name)?.description;
  return html`<fieldset>
    <legend class="label">${t("assistants.tools_label")}</legend>
    <${Check} name="every_tool" label=${t("assistants.every_tool")} checked=${every} onChange=${setEvery} />
    ${!every &&
    html`<div class="checks">
      ${names.map((name) => html`<${Check} key=${name} name="tool" value=${name} label=${name} hint=${toldOf(name)} defaultChecked=${picked.includes(name)} />`)}
    </div>`}
  </fieldset>
  ${!every && html`<${Servers} known=${known} picked=${servers ?? []} />`}`;
}

function Servers(/** @type {{known: string[], picked: string[]}} */ { known, picked }) {
  const names = [...new Set([...known, ...picked])];
  if (names.length === 0) return null;
  return html`<fieldset>
    <legend class="label">${t("assistants.servers")}</legend>
    <p class="hint">${t("assistants.servers_hint")}</p>
    <div class="checks">
      ${names.map((name) => html`<${Check} key=${name} name="server" value=${name} label=${name} defaultChecked=${picked.includes(name)} />`)}
    </div>
  </fieldset>`;
}

/** The assistant's link, created and removed independently of the form. */
function Share(/** @type {{assistant: Assistant}} */ { assistant }) {
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
