/** Notice on MCP servers that do not work. */
import { brokenServers } from "../servers.mjs";
import { tCount, t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { Word } from "./word.mjs";

export function ServersNote() {
  const broken = brokenServers.value;
  return html`<details class="servers-note small">
    <summary><${Icon} name="warn" size=${16} /> <span>${tCount("servers.broken", broken.length)}:</span>${" "}
      ${broken.map(({ name }, place) => html`${place > 0 && ", "}<${Word} text=${name} />`)}</summary>
    <p class="muted">${t("servers.broken_hint")}</p>
    ${broken.map(
      ({ name, status, problem, stderr }) => html`<section key=${name}>
        <p><strong><${Word} text=${name} /></strong> <span class="badge bad">${t(`servers.state_${status}`)}</span> <${Word} text=${problem} most=${600} /></p>
        ${stderr && html`<p class="muted">${t("servers.last_words")}</p><${Plain} text=${stderr} name=${`stderr:${name}`} label=${t("servers.last_words")} />`}
      </section>`,
    )}
  </details>`;
}
