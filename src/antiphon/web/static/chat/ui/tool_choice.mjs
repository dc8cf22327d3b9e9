/** Tools of an assistant: all, or the chosen ones of one list by server. */
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { chooseGroup, chooseTool, countChosen, groupTools, searchTools } from "../tool_groups.mjs";
import { html, useId, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { Check } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Word } from "./word.mjs";

/** Tools up to which every group is open at first. */
const FEW = 12;

/** Characters of a description that are shown. */
const DESCRIPTION = 240;

/**
 * @typedef {import("../tool_groups.mjs").Chosen} Chosen
 * @typedef {import("../tool_groups.mjs").Group} Group
 */

/**
 * Fields `every_tool`, or `tool` and `server` for each chosen one, for the form around it.
 *
 * @param {{tools: string[] | null, servers: string[] | null}} props as an assistant has them
 */
export function ToolChoice({ tools, servers }) {
  const offered = me.value?.tools ?? [];
  const known = (me.value?.servers ?? []).map((/** @type {any} */ server) => server.name);
  const [every, setEvery] = useState(tools === null && servers === null);
  const [chosen, setChosen] = useState(() => chosenAtFirst(tools, servers, offered));
  const [query, setQuery] = useState("");
  const groups = groupTools(offered, known, chosen);
  if (groups.length === 0) return html`<input type="hidden" name="every_tool" value="on" />`;
  const found = searchTools(groups, query);
  return html`<fieldset>
    <legend class="label">${t("assistants.tools_label")}</legend>
    <${Check} name="every_tool" label=${t("assistants.every_tool")} hint=${t("assistants.every_tool_hint")} checked=${every} onChange=${setEvery} />
    ${!every &&
    html`<div class="tool-choice checks">
      ${[...chosen.names].map((name) => html`<input type="hidden" name="tool" key=${name} value=${name} />`)}
      ${[...chosen.servers].map((server) => html`<input type="hidden" name="server" key=${server} value=${server} />`)}
      <div class="tool-search">
        <${Icon} name="search" size=${18} />
        <input
          type="search" class="input" aria-label=${t("assistants.tools_search")} placeholder=${t("assistants.tools_search")}
          value=${query} onInput=${(/** @type {any} */ event) => setQuery(event.currentTarget.value)} onKeyDown=${stayInForm}
        />
      </div>
      ${found.map((group) => html`<${GroupOfTools}
        key=${`${group.known} ${group.server}`} group=${group} whole=${groups.find(({ server, known: there }) => server === group.server && there === group.known)}
        open=${query.trim() !== "" || offered.length <= FEW} chosen=${chosen} onChange=${setChosen}
      />`)}
      <p class="hint" role="status">${found.length === 0 ? t("assistants.tools_none_found") : ""}</p>
    </div>`}
  </fieldset>`;
}

/** Returns what is ticked at first. @param {string[] | null} tools @param {string[] | null} servers @param {readonly any[]} offered @returns {Chosen} */
function chosenAtFirst(tools, servers, offered) {
  // Without a list, all functions of the app may be used, and of servers those that are named.
  const functions = () => offered.filter((tool) => !tool.server).map((tool) => tool.name);
  return { names: new Set(tools ?? (servers === null ? [] : functions())), servers: new Set(servers ?? []) };
}

/** Enter searches, and does not save the form. @param {KeyboardEvent} event */
function stayInForm(event) {
  if (event.key === "Enter") event.preventDefault();
}

/**
 * The tools of a server, with one box for all of them. `whole` has those too that a search leaves out.
 *
 * @param {{group: Group, whole: Group, open: boolean, chosen: Chosen, onChange: (chosen: Chosen) => void}} props
 */
function GroupOfTools({ group, whole, open, chosen, onChange }) {
  const { server, known, tools } = group;
  const [opened, setOpened] = useState(/** @type {boolean | null} */ (null));
  const box = useRef(/** @type {HTMLInputElement | null} */ (null));
  const id = useId();
  const shown = tools.length > 0 && (opened ?? open);
  const count = countChosen(whole, chosen);
  const isWhole = server === null ? count === whole.tools.length : chosen.servers.has(server);
  useLayoutEffect(() => {
    if (box.current) box.current.indeterminate = !isWhole && count > 0;
  });
  const title = server ?? t(known ? "assistants.tools_own" : "assistants.tools_gone");
  return html`<section class="tool-group" aria-label=${title}>
    <div class="tool-group-head">
      <label class="check grow">
        <input
          type="checkbox" ref=${box} value=${server ?? ""} checked=${isWhole} aria-label=${t("assistants.tools_all_of", { server: title })}
          onChange=${(/** @type {any} */ event) => onChange(chooseGroup(whole, event.currentTarget.checked, chosen))}
        />
        <span><strong dir="auto">${title}</strong>
          <span class="hint block">${note(group, whole, isWhole, count)}</span>
        </span>
      </label>
      ${tools.length > 0 &&
      html`<button
        type="button" class="icon-button" aria-expanded=${shown} aria-controls=${id} title=${t("assistants.tools_show", { server: title })}
        aria-label=${t("assistants.tools_show", { server: title })} onClick=${() => setOpened(!shown)}
      ><${Icon} name="down" size=${18} /></button>`}
    </div>
    <div id=${id} class="tool-list" hidden=${!shown}>
      ${shown &&
      tools.map(({ name, description }) => html`<label class="check" key=${name}>
        <input
          type="checkbox" value=${name} checked=${(server !== null && chosen.servers.has(server)) || chosen.names.has(name)}
          onChange=${(/** @type {any} */ event) => onChange(chooseTool(whole, name, event.currentTarget.checked, chosen))}
        />
        <span><span class="mono"><${Word} text=${server && name.startsWith(`${server}__`) ? name.slice(server.length + 2) : name} /></span>
          ${description && html`<span class="hint block"><${Word} text=${description} most=${DESCRIPTION} /></span>`}
        </span>
      </label>`)}
    </div>
  </section>`;
}

/** Returns what is chosen of a group, in words. @param {Group} group @param {Group} whole @param {boolean} isWhole @param {number} count */
function note({ server, known }, whole, isWhole, count) {
  if (!known) return t("assistants.tools_gone_hint");
  if (server !== null && isWhole) return t("assistants.tools_whole", { count: whole.tools.length });
  return whole.tools.length === 0 ? t("assistants.tools_none_now") : t("assistants.tools_count", { count, total: whole.tools.length });
}
