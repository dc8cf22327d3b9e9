/** A new MCP server: an address, or a program, which is confirmed or typed in a terminal. */
import { addServer, readAddress, readProgram, terminalLine } from "../server_changes.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { CopiedLine } from "./copied_line.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Plain } from "./plain.mjs";
import { Word } from "./word.mjs";

/** @typedef {import("../server_changes.mjs").NewProgram} NewProgram */

/**
 * @param {{programs: boolean, file: string, onAdded: (name: string) => Promise<void>, onLook: () => Promise<unknown>, onBack: () => void}} props
 */
export function NewServer({ programs, file, onAdded, onLook, onBack }) {
  const [kind, setKind] = useState("address");
  const [values, setValues] = useState(/** @type {Record<string, string>} */ ({}));
  const [program, setProgram] = useState(/** @type {NewProgram | null} */ (null)); // what is to be confirmed
  const add = async (/** @type {any} */ server) => {
    await addServer(server);
    await onAdded(server.name);
  };
  if (program) return html`<${Confirmation} program=${program} onStart=${() => add(program)} onBack=${() => setProgram(null)} />`;
  const isTyped = kind === "program" && !programs;
  const submit = async (/** @type {Record<string, string>} */ given) => {
    if (isTyped) await onLook();
    else if (kind === "address") await add(readAddress(given));
    else setProgram(readProgram(given));
  };
  const keep = (/** @type {any} */ event) => {
    const given = /** @type {any} */ (Object.fromEntries(new FormData(event.target.form)));
    setValues((before) => ({ ...before, ...(kind === "address" && { sse: "" }), ...given }));
  };
  const action = isTyped ? "servers.look" : kind === "address" ? "servers.add_start" : "servers.add_check";
  return html`<${Dialog} title=${t("servers.add")} onClose=${onBack}>
    <${Form} onSubmit=${submit} action=${t(action)} onCancel=${onBack}>
      <div class="stack" onInput=${keep}>
        <${Field} label=${t("servers.new_name")} hint=${t("servers.name_hint")}>
          <input class="input" name="name" required maxlength="48" autocomplete="off" autocapitalize="none" spellcheck=${false} defaultValue=${values.name ?? ""} />
        <//>
        <fieldset>
          <legend class="label">${t("servers.kind")}</legend>
          ${["address", "program"].map((each) => html`<label class="check" key=${each}>
            <input type="radio" name="kind" value=${each} checked=${kind === each} onChange=${() => setKind(each)} /><span>${t(`servers.kind_${each}`)}</span>
          </label>`)}
        </fieldset>
        ${kind === "address" ? html`<${AddressFields} key="address" values=${values} />` : html`<${ProgramFields} key="program" values=${values} />`}
        ${isTyped ? html`<${Terminal} values=${values} />` : html`<p class="hint">${t("servers.written_to")} <${Word} text=${file} most=${300} /></p>`}
      </div>
    <//>
  <//>`;
}

/** @param {{values: Record<string, string>}} props */
function AddressFields({ values }) {
  return html`
    <${Field} label=${t("servers.url")}>
      <input class="input" name="url" type="url" required maxlength="4000" autocomplete="off" placeholder="https://" defaultValue=${values.url ?? ""} />
    <//>
    <${Check} name="sse" value="sse" label=${t("servers.sse")} defaultChecked=${Boolean(values.sse)} />
    <${Field} label=${t("servers.headers")} hint=${t("servers.headers_hint")}>
      <textarea class="input mono lines" name="headers" rows="2" maxlength="20000" spellcheck=${false} placeholder=${"Authorization: Bearer ${MCP_TOKEN}"} defaultValue=${values.headers ?? ""}></textarea>
    <//>`;
}

/** @param {{values: Record<string, string>}} props */
function ProgramFields({ values }) {
  return html`
    <${Field} label=${t("servers.command")} hint=${t("servers.command_hint")}>
      <textarea class="input mono lines" name="command" rows="2" required maxlength="20000" spellcheck=${false} placeholder="uvx mcp-server-time" defaultValue=${values.command ?? ""}></textarea>
    <//>
    <${Field} label=${t("servers.env")} hint=${t("servers.env_hint")}>
      <textarea class="input mono lines" name="env" rows="2" maxlength="20000" spellcheck=${false} placeholder="TOKEN" defaultValue=${values.env ?? ""}></textarea>
    <//>`;
}

/** The line to type in a terminal where the page may start no programs. @param {{values: Record<string, string>}} props */
function Terminal({ values }) {
  const { line, wrong } = tryLine(values);
  return html`<div class="note stack">
    <p>${t("servers.terminal")}</p>
    ${line ? html`<${CopiedLine} line=${line} label=${t("servers.terminal_line")} />` : html`<p class="muted">${wrong}</p>`}
    <p class="hint">${t("servers.terminal_setting")}</p>
  </div>`;
}

/** Returns the line, or what is still wrong. @param {Record<string, string>} values */
function tryLine(values) {
  if (!values.name?.trim() || !values.command?.trim()) return { wrong: t("servers.terminal_first") };
  try {
    return { line: terminalLine(readProgram(values)) };
  } catch (/** @type {any} */ problem) {
    return { wrong: problem.message };
  }
}

/**
 * Each word of the command as it is, before anything is started.
 *
 * @param {{program: NewProgram, onStart: () => Promise<void>, onBack: () => void}} props
 */
function Confirmation({ program, onStart, onBack }) {
  const variables = Object.entries(program.env);
  return html`<${Dialog} title=${t("servers.confirm")} onClose=${onBack}>
    <${Form} onSubmit=${onStart} action=${t("servers.confirm_start")} onCancel=${onBack} destroys>
      <p>${t("servers.confirm_text")}</p>
      <section class="stack" aria-label=${t("servers.command")}>
        <h3>${t("servers.command")}</h3>
        <ol class="argv">${program.command.map((word, place) => html`<li key=${place}><${Plain} text=${word || t("servers.argument_empty")} name=${`argv:${place}`} judged label=${t("servers.command")} /></li>`)}</ol>
        ${variables.length > 0 && html`<h3>${t("servers.env")}</h3>
          <ul class="argv">${variables.map(([name, value]) => html`<li key=${name}><${Plain} text=${value === null ? `${name} ${t("servers.env_here")}` : `${name}=${value}`} name=${`env:${name}`} judged label=${name} /></li>`)}</ul>`}
      </section>
    <//>
  <//>`;
}
