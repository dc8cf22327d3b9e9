/** Dialog of a conversation's links: make one, copy it, update it, revoke it. */
import { get, patch, post, remove } from "../api.mjs";
import { language, t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { moment } from "./times.mjs";
import { runAndReport, toast } from "./toasts.mjs";

const DAY = 86_400;
const LIFETIMES = [DAY, 7 * DAY, 30 * DAY, 90 * DAY];
const USUAL_LIFETIME = 30 * DAY;

/** @typedef {{id: string, thread_id: string, title: string, include_tools: boolean, include_reasoning: boolean, messages: number, updated_at: number, expires_at: number}} Share */

/** @param {{thread: {id: string, title: string}, onClose: () => void}} props */
export function ShareDialog({ thread, onClose }) {
  const [listed, setListed] = useState(/** @type {{data: Share[], sharing: string, max_lifetime: number} | null} */ (null));
  const [link, setLink] = useState("");
  const load = () => runAndReport(async () => (setListed(await get("/api/shares")), true));
  useEffect(() => {
    void load();
  }, []);
  const make = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    const given = new FormData(form);
    const made = await post(`/api/threads/${encodeURIComponent(thread.id)}/shares`, {
      expires_in: Number(values.seconds),
      include_tools: given.has("tools"),
      include_reasoning: given.has("reasoning"),
    });
    setLink(made.url);
    await load();
  };
  const shares = listed?.data ?? [];
  const here = shares.filter((share) => share.thread_id === thread.id);
  const others = shares.filter((share) => share.thread_id !== thread.id);
  const lifetimes = listed ? lifetimesUpTo(listed.max_lifetime) : [];
  const usual = Math.min(USUAL_LIFETIME, lifetimes.at(-1) ?? 0);
  return html`<${Dialog} title=${t("sharing.title")} onClose=${onClose}>
    ${listed?.sharing === "off" && html`<p>${t("sharing.off")}</p>`}
    ${listed && listed.sharing !== "off" &&
      html`<${Form} onSubmit=${make} action=${t("sharing.make")}>
        <p class="muted small">${t(listed.sharing === "anyone" ? "sharing.hint_anyone" : "sharing.hint_people")}</p>
        <${Field} label=${t("sharing.expires")}>
          <select class="input" name="seconds">
            ${lifetimes.map((seconds) => html`<option key=${seconds} value=${seconds} selected=${seconds === usual}>${duration(seconds)}</option>`)}
          </select>
        <//>
        <${Check} name="tools" label=${t("sharing.tools")} hint=${t("sharing.tools_hint")} />
        <${Check} name="reasoning" label=${t("sharing.reasoning")} />
      <//>`}
    ${link && html`<${NewLink} link=${link} />`}
    <${List} title=${t("sharing.links")} shares=${here} onChange=${load} />
    <${List} title=${t("sharing.other_links")} shares=${others} onChange=${load} />
  <//>`;
}

/** Returns the lifetimes to choose from, with the server's limit where it is less than the longest. */
function lifetimesUpTo(/** @type {number} */ limit) {
  const longest = Math.min(limit, LIFETIMES.at(-1) ?? limit);
  return [...LIFETIMES.filter((seconds) => seconds < longest), longest];
}

/** Returns a number of seconds in the largest unit of which it is a multiple. */
function duration(/** @type {number} */ seconds) {
  const units = /** @type {const} */ ([["day", DAY], ["hour", 3600], ["minute", 60]]);
  const [unit, size] = units.find((each) => seconds % each[1] === 0) ?? ["second", 1];
  return new Intl.NumberFormat(language.value, { style: "unit", unit, unitDisplay: "long" }).format(seconds / size);
}

/** @param {{link: string}} props */
function NewLink({ link }) {
  const copy = async () => {
    await navigator.clipboard.writeText(link);
    toast({ text: t("sharing.copied") });
  };
  return html`<div class="field" role="status">
    <label for="share-link">${t("sharing.link")}</label>
    <div class="row">
      <input id="share-link" class="input grow" readonly value=${link} onFocus=${(/** @type {any} */ event) => event.currentTarget.select()} />
      <button type="button" class="button" onClick=${copy}>${t("common.copy")}</button>
    </div>
    <p class="hint">${t("sharing.link_hint")}</p>
  </div>`;
}

/** @param {{title: string, shares: Share[], onChange: () => void}} props */
function List({ title, shares, onChange }) {
  if (shares.length === 0) return null;
  return html`<section class="share-list">
    <h3>${title}</h3>
    <ul class="plain">${shares.map((share) => html`<${Row} key=${share.id} share=${share} onChange=${onChange} />`)}</ul>
  </section>`;
}

/** @param {{share: Share, onChange: () => void}} props */
function Row({ share, onChange }) {
  const title = share.title || t("threads.untitled");
  const address = `/api/shares/${encodeURIComponent(share.id)}`;
  const update = async () => {
    if (await runAndReport(() => patch(address, {}))) toast({ text: t("sharing.updated") });
    onChange();
  };
  const revoke = async () => {
    if (await runAndReport(() => remove(address))) toast({ text: t("sharing.revoked") });
    onChange();
  };
  return html`<li class="share-row">
    <div class="grow">
      <span dir="auto">${title}</span>
      <span class="muted small block">${t("sharing.until", { made: moment(share.updated_at), ends: moment(share.expires_at) })}</span>
    </div>
    <button type="button" class="button small quiet" aria-label=${t("sharing.update_of", { title })} onClick=${update}>${t("sharing.update")}</button>
    <button type="button" class="button small quiet" aria-label=${t("sharing.revoke_of", { title })} onClick=${revoke}>${t("sharing.revoke")}</button>
  </li>`;
}
