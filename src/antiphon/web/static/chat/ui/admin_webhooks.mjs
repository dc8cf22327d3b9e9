/** Webhooks of all owners: create, change, switch on and off, and what was sent to each. */
import { get, patch, post, remove } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Menu } from "./menu.mjs";
import { possibleOwners } from "./owners.mjs";
import { ShownOnce } from "./shown_once.mjs";
import { Table } from "./table.mjs";
import { ago, moment } from "./times.mjs";
import { toast, runAndReport } from "./toasts.mjs";

/**
 * @typedef {{
 *   id: string, owner: string, person: string, url: string, events: string[], description: string, enabled: boolean,
 *   disabled_reason: string | null, failing_since: number | null, created_at: number,
 * }} Webhook
 * @typedef {{
 *   id: string, type: string, run_id: string, status: string, attempts: number, status_code: number | null,
 *   error: string | null, attempted_at: number | null, next_attempt_at: number | null, created_at: number,
 * }} Delivery
 */

const EVENTS = [
  ...["run.completed", "run.incomplete", "run.failed", "run.cancelled", "run.expired"],
  ...["action.required", "approval.required"],
  ...["response.completed", "response.incomplete", "response.failed", "response.cancelled"],
];
const BADGES = { delivered: "badge good", pending: "badge", failed: "badge bad" };

/** Returns the address of a webhook, or of something of it, for the administrator who acts for its owner. */
function address(/** @type {Webhook} */ webhook, /** @type {string} */ of = "") {
  return `/api/admin/webhooks/${encodeURIComponent(webhook.id)}${of}?owner=${encodeURIComponent(webhook.owner)}`;
}

async function webhooksAndOwners() {
  const [webhooks, names] = await Promise.all([get("/api/admin/webhooks"), possibleOwners()]);
  return { webhooks: webhooks.data, names };
}

export function Webhooks() {
  const loaded = useLoad(webhooksAndOwners);
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const [shown, setShown] = useState(/** @type {Webhook | null} */ (null));
  const close = () => setDialog(null);
  const done = async () => {
    close();
    await loaded.again();
  };
  const showSecret = async (/** @type {string} */ secret) => {
    setDialog(html`<${ShownOnce} title=${t("webhooks.made_title")} text=${t("webhooks.made_once")} label=${t("webhooks.secret")} secret=${secret} onClose=${close} />`);
    await loaded.again();
  };
  const doing = { setDialog, setShown, close, done, showSecret };
  return html`
    <div class="row apart">
      <div>
        <h2>${t("admin.webhooks")}</h2>
        <p class="muted">${t("webhooks.hint")}</p>
      </div>
      <button type="button" class="button primary" disabled=${!loaded.data} onClick=${() => setDialog(html`<${NewWebhook} names=${loaded.data.names} onMade=${showSecret} onClose=${close} />`)}>
        <${Icon} name="new" size=${18} />${t("webhooks.make")}
      </button>
    </div>
    <${Loaded} of=${loaded}>${({ webhooks, names }) => (webhooks.length > 0 ? html`<${WebhookTable} webhooks=${webhooks} names=${names} doing=${doing} />` : html`<p class="empty">${t("webhooks.none")}</p>`)}<//>
    ${shown && html`<${Deliveries} key=${shown.id} of=${shown} onClose=${() => setShown(null)} />`}
    ${dialog}
  `;
}

function WebhookTable(/** @type {{webhooks: Webhook[], names: Map<string, string>, doing: any}} */ { webhooks, names, doing }) {
  const columns = [
    { name: t("webhooks.owner"), show: (/** @type {Webhook} */ webhook) => html`<strong dir="auto">${names.get(webhook.owner) ?? webhook.person}</strong>` },
    { name: t("webhooks.url"), show: (/** @type {Webhook} */ webhook) => html`<div class="mono small breaks">${webhook.url}</div>${webhook.description && html`<div class="small muted" dir="auto">${webhook.description}</div>`}` },
    { name: t("webhooks.events"), show: (/** @type {Webhook} */ webhook) => html`<span class="row">${(webhook.events.length > 0 ? webhook.events : [t("webhooks.all_events")]).map((event) => html`<span class="badge" key=${event}>${event}</span>`)}</span>` },
    { name: t("webhooks.state"), show: (/** @type {Webhook} */ webhook) => html`<span class=${webhook.enabled && !webhook.failing_since ? "badge good" : "badge bad"}>${stateWords(webhook)}</span>` },
    { name: t("webhooks.since"), show: (/** @type {Webhook} */ webhook) => ago(webhook.created_at) },
    { name: "", show: (/** @type {Webhook} */ webhook) => html`<${Menu} label=${t("webhooks.actions", { url: webhook.url })} choices=${choicesFor(webhook, doing)} />` },
  ];
  return html`<${Table} caption=${t("admin.webhooks")} columns=${columns} rows=${webhooks} keyOf=${(/** @type {Webhook} */ webhook) => webhook.id} />`;
}

function stateWords(/** @type {Webhook} */ webhook) {
  if (!webhook.enabled) return t(`webhooks.off_${webhook.disabled_reason}`);
  return webhook.failing_since ? t("webhooks.fails", { since: moment(webhook.failing_since) }) : t("webhooks.works");
}

function choicesFor(/** @type {Webhook} */ webhook, /** @type {any} */ { setDialog, setShown, close, done, showSecret }) {
  const setEnabled = (/** @type {boolean} */ enabled) => async () => {
    await runAndReport(() => patch(address(webhook), { enabled }));
    await done();
  };
  const test = async () => {
    if (!(await runAndReport(() => post(address(webhook, "/test"))))) return;
    toast({ text: t("webhooks.tested") });
    setShown(webhook);
  };
  const rotate = async () => showSecret((await post(address(webhook, "/rotate_secret"))).secret);
  const askToRotate = () =>
    setDialog(html`<${Dialog} title=${t("webhooks.rotate_title")} onClose=${close}>
      <${Form} onSubmit=${rotate} action=${t("webhooks.rotate")} onCancel=${close}><p>${t("webhooks.rotate_text")}</p><//>
    <//>`);
  const leave = async () => {
    await remove(address(webhook));
    setShown(null);
    await done();
  };
  const askToRemove = () =>
    setDialog(html`<${ConfirmDialog}
      title=${t("webhooks.remove_title")} text=${t("webhooks.remove_text")} action=${t("webhooks.remove")}
      onConfirm=${leave} onClose=${close}
    />`);
  return [
    { label: t("webhooks.deliveries"), run: () => setShown(webhook) },
    { label: t("webhooks.change"), icon: "edit", run: () => setDialog(html`<${ChangedWebhook} of=${webhook} onDone=${done} onClose=${close} />`) },
    ...(webhook.enabled
      ? [
          { label: t("webhooks.test"), run: test },
          { label: t("webhooks.disable"), run: setEnabled(false) },
        ]
      : [{ label: t("webhooks.enable"), run: setEnabled(true) }]),
    { label: t("webhooks.rotate"), run: askToRotate },
    { label: t("webhooks.remove"), danger: true, run: askToRemove },
  ];
}

function NewWebhook(/** @type {{names: Map<string, string>, onMade: (secret: string) => Promise<void>, onClose: () => void}} */ { names, onMade, onClose }) {
  const make = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    const { secret } = await post("/api/admin/webhooks", { owner: values.owner, ...fieldsOf(values, form) });
    await onMade(secret);
  };
  return html`<${Dialog} title=${t("webhooks.make")} onClose=${onClose}>
    <${Form} onSubmit=${make} action=${t("webhooks.make")} onCancel=${onClose}>
      <${Field} label=${t("webhooks.owner")} hint=${t("webhooks.owner_hint")}><select class="input" name="owner">${[...names].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select><//>
      <${WebhookFields} />
    <//>
  <//>`;
}

function ChangedWebhook(/** @type {{of: Webhook, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const save = async (/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) => {
    await patch(address(of), fieldsOf(values, form));
    await onDone();
  };
  return html`<${Dialog} title=${t("webhooks.change")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}><${WebhookFields} of=${of} /><//>
  <//>`;
}

function WebhookFields(/** @type {{of?: Webhook}} */ { of }) {
  return html`
    <${Field} label=${t("webhooks.url")} hint=${t("webhooks.url_hint")}><input class="input" type="url" name="url" required maxlength="2048" autocomplete="off" defaultValue=${of?.url ?? ""} /><//>
    <${Field} label=${t("webhooks.description")}><input class="input" name="description" maxlength="512" autocomplete="off" defaultValue=${of?.description ?? ""} /><//>
    <fieldset>
      <legend class="label">${t("webhooks.events")}</legend>
      <p class="hint">${t("webhooks.events_hint")}</p>
      ${EVENTS.map((event) => html`<${Check} key=${event} name="event" value=${event} label=${event} defaultChecked=${of?.events.includes(event) ?? false} />`)}
    </fieldset>
  `;
}

/** Returns the fields of the form as a webhook has them. */
function fieldsOf(/** @type {Record<string, string>} */ values, /** @type {HTMLFormElement} */ form) {
  const events = new FormData(form).getAll("event").map(String);
  return { url: values.url.trim(), description: values.description.trim(), events };
}

/** Deliveries of a webhook, newest first, and older ones on request. */
function Deliveries(/** @type {{of: Webhook, onClose: () => void}} */ { of, onClose }) {
  const loaded = useLoad(() => get(address(of, "/deliveries")));
  return html`<section class="stack">
    <div class="row apart">
      <h3 class="breaks">${t("webhooks.deliveries_of", { url: of.url })}</h3>
      <span class="row">
        <button type="button" class="button small" onClick=${loaded.again}>${t("webhooks.refresh")}</button>
        <button type="button" class="button small quiet" onClick=${onClose}>${t("common.close")}</button>
      </span>
    </div>
    <${Loaded} of=${loaded}>${(/** @type {any} */ page) => (page.data.length > 0 ? html`<${DeliveryPages} key=${page.data[0].id} webhook=${of} first=${page} onResent=${loaded.again} />` : html`<p class="empty">${t("webhooks.no_deliveries")}</p>`)}<//>
  </section>`;
}

function DeliveryPages(/** @type {{webhook: Webhook, first: {data: Delivery[], next: string | null}, onResent: () => Promise<void>}} */ { webhook, first, onResent }) {
  const [older, setOlder] = useState(/** @type {{data: Delivery[], next: string | null}[]} */ ([]));
  const pages = [first, ...older];
  const next = pages.at(-1)?.next;
  const more = () =>
    runAndReport(async () => {
      const page = await get(`${address(webhook, "/deliveries")}&after=${encodeURIComponent(next ?? "")}`);
      setOlder((before) => [...before, page]);
    });
  const resend = async (/** @type {Delivery} */ delivery) => {
    if (await runAndReport(() => post(address(webhook, `/deliveries/${encodeURIComponent(delivery.id)}/resend`)))) toast({ text: t("webhooks.resent") });
    setOlder([]);
    await onResent();
  };
  const columns = [
    { name: t("webhooks.type"), show: (/** @type {Delivery} */ delivery) => html`<strong>${delivery.type}</strong>` },
    { name: t("webhooks.event"), show: (/** @type {Delivery} */ delivery) => html`<span class="mono small clipped id" title=${`${delivery.id} ${delivery.run_id}`}>${delivery.run_id || delivery.id}</span>` },
    { name: t("webhooks.status"), show: (/** @type {Delivery} */ delivery) => html`<span class=${BADGES[/** @type {keyof typeof BADGES} */ (delivery.status)]}>${t(`webhooks.status_${delivery.status}`)}</span>` },
    { name: t("webhooks.attempts"), number: true, show: (/** @type {Delivery} */ delivery) => String(delivery.attempts) },
    { name: t("webhooks.answer"), show: (/** @type {Delivery} */ delivery) => html`<span class="small" dir="auto">${delivery.error ?? delivery.status_code ?? ""}</span>` },
    { name: t("webhooks.last"), show: (/** @type {Delivery} */ delivery) => (delivery.attempted_at ? ago(delivery.attempted_at) : "") },
    { name: t("webhooks.next"), show: (/** @type {Delivery} */ delivery) => (delivery.next_attempt_at ? moment(delivery.next_attempt_at) : "") },
    { name: "", show: (/** @type {Delivery} */ delivery) => html`<button type="button" class="button small" onClick=${() => resend(delivery)}>${t("webhooks.resend")}</button>` },
  ];
  return html`
    <${Table} caption=${t("webhooks.deliveries")} columns=${columns} rows=${pages.flatMap((page) => page.data)} keyOf=${(/** @type {Delivery} */ delivery) => delivery.id} />
    ${next && html`<p><button type="button" class="button" onClick=${more}>${t("acts.older")}</button></p>`}
  `;
}
