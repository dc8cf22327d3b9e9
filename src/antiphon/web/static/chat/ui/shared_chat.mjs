/** A conversation behind a link: read-only, also for readers who have no login. */
import { get, post } from "../api.mjs";
import { navigate } from "../router.mjs";
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useMemo, useState } from "../vendor/ui.mjs";
import { citedSources } from "../web_sources.mjs";
import { Link } from "./link.mjs";
import { Login } from "./login.mjs";
import { Markdown } from "./markdown.mjs";
import { Notice } from "./notice.mjs";
import { reasoningLabel } from "./reasoning.mjs";
import { moment } from "./times.mjs";
import { runAndReport } from "./toasts.mjs";
import { WebSources } from "./web_sources.mjs";
import { Word } from "./word.mjs";

/**
 * @typedef {{name: string, arguments: string, output: string | null, is_error: boolean, fault?: string}} SharedCall
 * @typedef {{
 *   role: "user" | "assistant", text?: string, created_at: number, model?: string, reasoning?: string,
 *   reasoning_seconds?: number, attachments?: string[], unread?: {name: string, reason: string}[], calls?: SharedCall[],
 *   citations?: {url: string, title?: string}[], incomplete?: boolean,
 * }} SharedMessage
 * @typedef {{title: string, messages: SharedMessage[], shared_at: number, expires_at: number}} Shared
 */

/** @param {{token: string, onSignedIn: () => Promise<void>}} props */
export function SharedChat({ token, onSignedIn }) {
  const [shared, setShared] = useState(/** @type {Shared | null} */ (null));
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const load = async () => {
    setProblem(null);
    try {
      setShared(await get(`/api/links/${encodeURIComponent(token ?? "")}`));
    } catch (failed) {
      setProblem(failed);
    }
  };
  useEffect(() => {
    void load();
  }, [token]);
  if (problem?.status === 401) return html`<${Login} onDone=${async () => (await onSignedIn(), await load())} />`;
  return html`<main class="shared-chat" id="view" tabindex="-1">
    ${shared && html`<${Conversation} shared=${shared} token=${token} />`}
    ${problem && html`<${Failed} problem=${problem} onRetry=${load} />`}
    ${!shared && !problem && html`<p class="waiting muted" role="status"><span class="spinner" aria-hidden="true"></span>${t("common.loading")}</p>`}
  </main>`;
}

/** Says why nothing is shown, and what to do. @param {{problem: any, onRetry: () => unknown}} props */
function Failed({ problem, onRetry }) {
  const isGone = problem.status === 404;
  return html`${isGone && html`<h1 class="shared-head">${t("lost.title")}</h1>`}
    <${Notice} bad role="alert" text=${isGone ? t("sharing.gone") : problem.message} hint=${isGone ? t("sharing.gone_hint") : null}>
      ${!isGone && html`<button type="button" class="button small" onClick=${onRetry}>${t("common.retry")}</button>`}
      ${me.value && html`<${Link} class="button small" href="/">${t("lost.home")}<//>`}
    <//>`;
}

/** @param {{shared: Shared, token: string}} props */
function Conversation({ shared, token }) {
  const title = shared.title || t("threads.untitled");
  useEffect(() => {
    document.title = title;
  }, [title, me.value]);
  const continueHere = async () => {
    const copy = await runAndReport(() => post(`/api/links/${encodeURIComponent(token)}/copies`));
    if (copy) navigate(`/t/${copy.id}`);
  };
  return html`
    <header class="shared-head">
      <h1 dir="auto">${title}</h1>
      <p class="muted small">${t("sharing.read_only", { time: moment(shared.shared_at) })}</p>
      ${me.value && html`<button type="button" class="button primary" onClick=${continueHere}>${t("sharing.continue")}</button>`}
    </header>
    ${shared.messages.map((message, place) => html`<${Message} key=${place} message=${message} />`)}
    ${shared.messages.length === 0 && html`<p class="muted">${t("sharing.empty")}</p>`}
  `;
}

/** @param {{message: SharedMessage}} props */
function Message({ message }) {
  const { role, text = "", reasoning, reasoning_seconds: seconds = 0, attachments = [], unread = [], calls = [] } = message;
  const sources = useMemo(() => citedSources(message.citations ?? []), [message]);
  const speaker = t(role === "user" ? "sharing.user" : "sharing.assistant");
  return html`<article class=${`shared-message ${role}`} dir="auto">
    <h2 class="muted small">${message.model ? `${speaker} (${message.model})` : speaker}, ${moment(message.created_at)}</h2>
    ${reasoning && html`<details><summary>${reasoningLabel(false, seconds)}</summary><div class="said">${reasoning}</div></details>`}
    ${role === "assistant" ? text && html`<${Markdown} text=${text} sources=${sources} />` : html`<div class="said">${text}</div>`}
    <${WebSources} sources=${sources} />
    ${attachments.length > 0 && html`<p class="muted small">${t("sharing.attached", { names: attachments.join(", ") })}</p>`}
    ${unread.map(({ name, reason }, place) => html`<p class="muted small" key=${place}><${Word} text=${name} />: ${t(`document.failed_${reason}`)}</p>`)}
    ${calls.map((call, place) => html`<${Call} key=${place} call=${call} />`)}
    ${message.incomplete && html`<p class="muted small">${t("sharing.incomplete")}</p>`}
  </article>`;
}

/** @param {{call: SharedCall}} props */
function Call({ call }) {
  const state = call.fault === "cancelled" ? "stopped" : call.fault === "refused" ? "refused" : call.is_error ? "failed" : null;
  return html`<details>
    <summary><code>${call.name}</code>${state && html` <span class="muted small">${t(`tool.${state}`)}</span>`}</summary>
    <pre tabindex="0"><code>${call.arguments}</code></pre>
    ${call.output !== null && html`<pre tabindex="0"><code>${call.output}</code></pre>`}
  </details>`;
}
