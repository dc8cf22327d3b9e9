/** Notice on MCP servers that do not work. */
import { reasonInWords } from "../server_reasons.mjs";
import { brokenServers } from "../servers.mjs";
import { tCount, t } from "../t.mjs";
import { html, signal } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { Word } from "./word.mjs";

/** The servers of which the person has closed the note, until others fail or the page is loaded again. */
const closed = signal("");

export function ServersNote() {
  const broken = brokenServers.value;
  const names = broken.map(({ name }) => name).join("\n");
  if (closed.value === names) return null;
  const close = () => {
    closed.value = names;
    document.getElementById("composer")?.focus();
  };
  return html`<div class="servers-note small"><details>
    <summary><${Icon} name="warn" size=${16} /> <span>${tCount("servers.broken", broken.length)}:</span>${" "}
      ${broken.map(({ name }, place) => html`${place > 0 && ", "}<${Word} text=${name} />`)}</summary>
    <p class="muted">${t("servers.broken_hint")}</p>
    ${broken.map(
      ({ name, status, problem, stderr }) => html`<section key=${name}>
        <p><strong><${Word} text=${name} /></strong> <span class="badge bad">${t(`servers.state_${status}`)}</span> <${Word} text=${reasonInWords(problem)} most=${600} /></p>
        ${stderr && html`<p class="muted">${t("servers.last_words")}</p><${Plain} text=${stderr} name=${`stderr:${name}`} label=${t("servers.last_words")} />`}
      </section>`,
    )}
  </details>
  <button type="button" class="icon-button" aria-label=${t("common.close")} title=${t("common.close")} onClick=${close}><${Icon} name="close" size=${16} /></button></div>`;
}
