/** MCP servers of the chat: their state and changes, and their prompts and resources for the message. */
import { get, post } from "../api.mjs";
import { revealText } from "../hidden_characters.mjs";
import { isSettling, lookForServers } from "../server_changes.mjs";
import { reasonInWords } from "../server_reasons.mjs";
import { refreshServers } from "../servers.mjs";
import { refill } from "../store.mjs";
import { t, tCount } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { NewServer } from "./new_server.mjs";
import { Plain } from "./plain.mjs";
import { ServerActions } from "./server_actions.mjs";
import { runAndReport, toast } from "./toasts.mjs";
import { Word } from "./word.mjs";

/** Entries of a list that are shown at first. */
const SHOWN = 20;
/** Milliseconds after which servers that are starting are looked at again. */
const LOOK_MS = 1000;

/**
 * @typedef {import("../server_changes.mjs").Server} Server
 * @typedef {import("../server_changes.mjs").ServerList} ServerList
 * @typedef {import("../server_changes.mjs").Changes} Changes
 * @typedef {{name: string, title: string, description: string, arguments: {name: string, description: string, required: boolean}[]}} Prompt
 * @typedef {{uri: string, name: string, title: string, description: string, media_type: string, size: number | null}} Resource
 * @typedef {{text: string, files: {id: string, name: string, media_type: string, size: number}[]}} Filled
 */

/** @param {{onClose: () => void}} props */
export function ServerCatalog({ onClose }) {
  const loaded = useLoad(() => get("/api/servers"));
  const [chosen, setChosen] = useState(/** @type {{server: string, prompt: Prompt} | null} */ (null));
  const [adding, setAdding] = useState(false);
  const [said, setSaid] = useState("");
  const [shown, setShown] = useState(""); // the server that gets the focus when it is drawn
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const watch = useSettling(loaded, setSaid);
  /** @type {ServerList | undefined} */
  const servers = loaded.data;
  const look = async () => {
    setSaid("");
    const { changes } = await lookForServers();
    await loaded.again();
    setSaid(changesInWords(changes));
    setShown(changes.added[0] ?? "");
    setAdding(false);
  };
  const changed = (/** @type {string} */ name) => {
    watch(name);
    return loaded.again();
  };
  const added = async (/** @type {string} */ name) => {
    await changed(name);
    setShown(name);
    setAdding(false);
  };
  const removed = async (/** @type {string} */ name) => {
    await loaded.again();
    setSaid(t("servers.removed", { name }));
    requestAnimationFrame(() => list.current?.focus()); // once the question has closed
  };
  if (chosen) return html`<${PromptForm} ...${chosen} onBack=${() => setChosen(null)} onDone=${onClose} />`;
  if (adding && servers) {
    return html`<${NewServer} programs=${servers.programs} file=${servers.file} onAdded=${added} onLook=${look} onBack=${() => setAdding(false)} />`;
  }
  return html`<${Dialog} title=${t("catalog.title")} onClose=${onClose}>
    <div class="stack">
      <p class="muted small">${t("catalog.hint")}</p>
      ${servers?.may_change && html`<${Changing} servers=${servers} onAdd=${() => setAdding(true)} onLook=${look} />`}
      <p class="small said" role="status">${said}</p>
      <${Loaded} of=${loaded}>
        ${(/** @type {ServerList} */ { data, may_change }) => html`<div class="catalog-servers" tabindex="-1" role="group" aria-label=${t("catalog.title")} ref=${list}>
          ${data.length === 0 && html`<p class="empty">${t("servers.none")}</p>`}
          ${data.map((server) => html`<${ServerSection}
            key=${server.name} server=${server} may=${may_change} isShown=${server.name === shown} onPrompt=${(/** @type {Prompt} */ prompt) => setChosen({ server: server.name, prompt })}
            onDone=${onClose} onChanged=${changed} onRemoved=${removed}
          />`)}
        </div>`}
      <//>
    </div>
  <//>`;
}

/**
 * Looks again at servers that are starting until they are ready or have failed, and says so. Returns a
 * function by whose call a server that has settled by now counts too.
 *
 * @param {{data: any, again: () => Promise<void>}} loaded @param {(text: string) => void} say
 * @returns {(name: string) => void}
 */
function useSettling(loaded, say) {
  const before = useRef(/** @type {string[]} */ ([]));
  /** @type {Server[]} */
  const data = loaded.data?.data ?? [];
  useEffect(() => {
    const settling = data.filter(isSettling).map(({ name }) => name);
    const settled = data.filter((server) => before.current.includes(server.name) && !isSettling(server));
    before.current = settling;
    if (settled.length > 0) {
      say(settled.map(stateInWords).join(" "));
      void refreshServers();
    }
    if (settling.length === 0) return undefined;
    const timer = setTimeout(loaded.again, LOOK_MS);
    return () => clearTimeout(timer);
  }, [loaded.data]);
  return (name) => {
    before.current = [...before.current, name];
  };
}

/** Returns the state of a server as a sentence. @param {Server} server */
function stateInWords({ name, status, tools }) {
  const values = { name: revealText(name), state: t(`servers.state_${status}`), tools: tCount("catalog.tools", tools) };
  return t(status === "ready" ? "servers.now_ready" : "servers.now", values);
}

/** @param {Changes} changes */
function changesInWords({ added, changed, removed }) {
  const found = Object.entries({ added, changed, removed }).filter(([, names]) => names.length > 0);
  if (found.length === 0) return t("servers.look_none");
  return found.map(([what, names]) => t(`servers.look_${what}`, { names: names.map(revealText).join(", ") })).join(" ");
}

/**
 * What an administrator does with the list: add, or look for what a terminal has added.
 *
 * @param {{servers: ServerList, onAdd: () => void, onLook: () => Promise<void>}} props
 */
function Changing({ servers, onAdd, onLook }) {
  const [busy, setBusy] = useState(false);
  const look = async () => {
    if (busy) return;
    setBusy(true);
    await runAndReport(onLook);
    setBusy(false);
  };
  return html`
    <div class="row">
      ${servers.file && html`<button type="button" class="button small" onClick=${onAdd}><${Icon} name="new" size=${16} />${t("servers.add")}</button>`}
      <button type="button" class="button small" aria-disabled=${busy} onClick=${look}>
        ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name="search" size=${16} />`}${t("servers.look")}
      </button>
    </div>
    ${servers.config && html`<p class="small muted">${t("servers.from_config")} <${Word} text=${servers.config} most=${300} /></p>`}
    ${servers.unapproved.map((text) => html`<p class="note small" key=${text}><${Word} text=${text} most=${600} /></p>`)}`;
}

/**
 * @param {{
 *   server: Server, may: boolean, isShown: boolean, onPrompt: (prompt: Prompt) => void, onDone: () => void,
 *   onChanged: (name: string) => Promise<void>, onRemoved: (name: string) => Promise<void>,
 * }} props
 */
function ServerSection({ server, may, isShown, onPrompt, onDone, onChanged, onRemoved }) {
  const [open, setOpen] = useState(isShown);
  const summary = useRef(/** @type {HTMLElement | null} */ (null));
  // Once the dialog around it is open, and has given the focus to its first element.
  useEffect(() => {
    if (isShown) summary.current?.focus();
  }, [isShown]);
  const bad = server.status === "failed" || server.status === "restarting";
  const offers = server.has_prompts || server.has_resources;
  return html`<details class="catalog-server" open=${open} onToggle=${(/** @type {any} */ event) => setOpen(event.currentTarget.open)}>
    <summary ref=${summary}>
      <${Icon} name="right" size=${16} />
      <strong><${Word} text=${server.name} /></strong>
      <span class=${bad ? "badge bad" : "badge"}>${t(`servers.state_${server.status}`)}</span>
      <span class="muted small">${tCount("catalog.tools", server.tools)}</span>
    </summary>
    <div class="stack">
      ${server.problem && !server.login && html`<p class="small"><${Word} text=${reasonInWords(server.problem)} most=${600} /></p>`}
      ${server.stderr && html`<${Plain} text=${server.stderr} name=${`stderr:${server.name}`} label=${t("servers.last_words")} />`}
      ${may && open && html`<${ServerActions} server=${server} onChanged=${onChanged} onRemoved=${onRemoved} />`}
      ${open && server.status === "ready" && (offers ? html`<${Offers} server=${server} onPrompt=${onPrompt} onDone=${onDone} />` : html`<p class="muted small">${t("catalog.nothing")}</p>`)}
    </div>
  </details>`;
}

/** @param {{server: Server, onPrompt: (prompt: Prompt) => void, onDone: () => void}} props */
function Offers({ server, onPrompt, onDone }) {
  const loaded = useLoad(() => get(`/api/servers/${encodeURIComponent(server.name)}`), [server.name]);
  return html`<${Loaded} of=${loaded}>
    ${(/** @type {{prompts: Prompt[], resources: Resource[], problems: string[]}} */ { prompts, resources, problems }) => html`
      ${problems.map((problem) => html`<p class="note bad small" key=${problem}><${Word} text=${problem} most=${600} /></p>`)}
      <${Entries} title=${t("catalog.prompts")} entries=${prompts} keyOf=${(/** @type {Prompt} */ { name }) => name} row=${(/** @type {Prompt} */ prompt) => html`<${Entry}
        name=${prompt.title || prompt.name} description=${prompt.description} action=${t("catalog.use")} icon="compose"
        run=${async () => (prompt.arguments.length > 0 ? onPrompt(prompt) : (await runAndReport(() => insertPrompt(server.name, prompt.name, {}))) && onDone())}
      />`} />
      <${Entries} title=${t("catalog.resources")} entries=${resources} keyOf=${(/** @type {Resource} */ { uri }) => uri} row=${(/** @type {Resource} */ resource) => html`<${Entry}
        name=${resource.title || resource.name || resource.uri} description=${resource.description || resource.uri} action=${t("catalog.attach")} icon="attach"
        run=${async () => (await runAndReport(() => attachResource(server.name, resource.uri))) && onDone()}
      />`} />`}
  <//>`;
}

/** A list under its heading, of which more is shown on demand. @param {{title: string, entries: any[], keyOf: (entry: any) => string, row: (entry: any) => any}} props */
function Entries({ title, entries, keyOf, row }) {
  const [most, setMost] = useState(SHOWN);
  if (entries.length === 0) return null;
  return html`<section class="stack">
    <h3>${title}</h3>
    <ul class="catalog-list">${entries.slice(0, most).map((entry) => html`<li key=${keyOf(entry)}>${row(entry)}</li>`)}</ul>
    ${entries.length > most && html`<button type="button" class="button quiet small" onClick=${() => setMost(most + SHOWN)}>${t("catalog.more", { left: entries.length - most })}</button>`}
  </section>`;
}

/** @param {{name: string, description: string, action: string, icon: string, run: () => Promise<unknown>}} props */
function Entry({ name, description, action, icon, run }) {
  const [busy, setBusy] = useState(false);
  const press = async () => {
    if (busy) return;
    setBusy(true);
    await run();
    setBusy(false);
  };
  return html`<div class="row">
    <span class="grow"><span class="block"><${Word} text=${name} /></span>${description && html`<span class="hint block"><${Word} text=${description} most=${200} /></span>`}</span>
    <button type="button" class="button small" aria-label=${`${action}: ${revealText(name)}`} aria-disabled=${busy} onClick=${press}>
      ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name=${icon} size=${16} />`}${action}
    </button>
  </div>`;
}

/** The arguments of a prompt as fields. @param {{server: string, prompt: Prompt, onBack: () => void, onDone: () => void}} props */
function PromptForm({ server, prompt, onBack, onDone }) {
  const insert = async (/** @type {Record<string, string>} */ values) => {
    const given = prompt.arguments.map(({ name }, place) => [name, values[`argument-${place}`]]).filter(([, value]) => value);
    await insertPrompt(server, prompt.name, Object.fromEntries(given));
    onDone();
  };
  return html`<${Dialog} title=${revealText(prompt.title || prompt.name)} onClose=${onBack}>
    <${Form} onSubmit=${insert} action=${t("catalog.use")} onCancel=${onBack}>
      ${prompt.description && html`<p class="muted small"><${Word} text=${prompt.description} most=${600} /></p>`}
      ${prompt.arguments.map((argument, place) => html`<${Field} key=${argument.name} label=${revealText(argument.name)} hint=${revealText(argument.description)}>
        <textarea class="input" rows="2" dir="auto" name=${`argument-${place}`} maxlength="100000" required=${argument.required}></textarea>
      <//>`)}
    <//>
  <//>`;
}

/** @param {string} server @param {string} name @param {Record<string, string>} values */
async function insertPrompt(server, name, values) {
  insert(await post(`/api/servers/${encodeURIComponent(server)}/prompts`, { name, arguments: values }));
  return true;
}

/** @param {string} server @param {string} uri */
async function attachResource(server, uri) {
  insert(await post(`/api/servers/${encodeURIComponent(server)}/resources`, { uri }));
  return true;
}

/**
 * Puts text and files where messages are written, with the focus, once the dialog has closed and given
 * the focus back; nothing is sent.
 *
 * @param {Filled} filled
 */
function insert({ text, files }) {
  if (!text && files.length === 0) return toast({ text: t("catalog.empty") });
  const attached = files.map(({ id, name, media_type, size }) => ({ id, name, type: media_type, size }));
  requestAnimationFrame(() => (refill.value = { text, files: attached }));
  return undefined;
}
