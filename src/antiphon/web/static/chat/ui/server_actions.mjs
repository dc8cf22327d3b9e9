/** What an administrator does with one MCP server: restart, switch off and on, remove. */
import { revealText } from "../hidden_characters.mjs";
import { isSettling, removeServer, restartServer, switchServer } from "../server_changes.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { CopiedLine } from "./copied_line.mjs";
import { Icon } from "./icons.mjs";
import { sentence } from "./toasts.mjs";
import { Word } from "./word.mjs";

/** @typedef {import("../server_changes.mjs").Server} Server */

/** @param {{server: Server, onChanged: (name: string) => Promise<void>, onRemoved: (name: string) => Promise<void>}} props */
export function ServerActions({ server, onChanged, onRemoved }) {
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [asked, setAsked] = useState(false);
  const isOff = server.status === "disabled";
  const run = async (/** @type {string} */ act, /** @type {() => Promise<unknown>} */ work) => {
    if (busy) return;
    setBusy(act);
    setProblem(null);
    try {
      await work();
    } catch (failed) {
      setProblem(failed);
    }
    await onChanged(server.name);
    setBusy("");
  };
  const remove = async () => {
    await removeServer(server.name);
    await onRemoved(server.name);
  };
  const name = revealText(server.name);
  return html`
    <${Advice} server=${server} />
    <${Place} server=${server} />
    ${problem && html`<p class="note bad small" role="alert">${sentence(problem)}</p>`}
    <div class="row">
      ${!isOff && html`<${Act} key="restart" label=${t("servers.restart")} name=${name} icon="retry" busy=${busy === "restart"} run=${() => run("restart", () => restartServer(server.name))} />`}
      ${server.source?.is_own && html`
        <${Act} key="switch" label=${t(isOff ? "servers.switch_on" : "servers.switch_off")} name=${name} icon=${isOff ? "check" : "stop"} busy=${busy === "switch"} run=${() => run("switch", () => switchServer(server.name, isOff))} />
        <${Act} key="remove" label=${t("servers.remove")} name=${name} icon="trash" danger run=${() => setAsked(true)} />`}
    </div>
    ${asked && html`<${ConfirmDialog}
      title=${t("servers.remove_title", { name })} text=${t("servers.remove_text")} action=${t("servers.remove")}
      onConfirm=${remove} onClose=${() => setAsked(false)}
    />`}`;
}

/** What to do about the state of the server. @param {{server: Server}} props */
function Advice({ server }) {
  if (server.login) {
    return html`<div class="stack">
      <p class="small">${t("servers.needs_login")}</p>
      <${CopiedLine} line=${server.login} label=${t("servers.login_line")} />
    </div>`;
  }
  if (server.status === "failed") return html`<p class="small muted">${t("servers.failed_advice")}</p>`;
  if (isSettling(server)) return html`<p class="small muted">${t("servers.starting_advice")}</p>`;
  return null;
}

/** What the server is, and where that is written. @param {{server: Server}} props */
function Place({ server }) {
  if (!server.source) return null;
  const { target, file, is_own } = server.source;
  return html`<dl class="server-facts small">
    <dt>${t(server.source.transport === "stdio" ? "servers.command" : "servers.url")}</dt>
    <dd class="mono"><${Word} text=${target} most=${2000} judged /></dd>
    <dt>${t("servers.place")}</dt>
    <dd><${Word} text=${file} most=${600} />${!is_own && html`<span class="block muted">${t("servers.elsewhere")}</span>`}</dd>
  </dl>`;
}

/** @param {{label: string, name: string, icon: string, run: () => unknown, busy?: boolean, danger?: boolean}} props */
function Act({ label, name, icon, run, busy = false, danger = false }) {
  return html`<button type="button" class=${danger ? "button small danger" : "button small"} aria-label=${`${label}: ${name}`} aria-disabled=${busy} onClick=${run}>
    ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name=${icon} size=${16} />`}${label}
  </button>`;
}
