/** Part of the settings: import chats from elsewhere, with a look at what comes and the progress. */
import { changeImport, chatImports, dismissImport, hasEnded, isWorking, loadImports, sendExport, sendingImport } from "../chat_imports.mjs";
import { revealText } from "../hidden_characters.mjs";
import { language, t } from "../t.mjs";
import { loadThreads } from "../threads.mjs";
import { formatBytes } from "../units.mjs";
import { html, useEffect, useRef } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { runAndReport, toast } from "./toasts.mjs";

/** @typedef {import("../chat_imports.mjs").ChatImport} ChatImport */

const POLL_MS = 1000;

/** Imports that are shown. */
const MOST = 5;

export function ChatImports() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const known = chatImports.value;
  const goesOn = known?.data.find((each) => !hasEnded(each));
  const isElsewhere = goesOn?.status === "uploading" && sendingImport.value !== goesOn.id; // or broke off
  const works = goesOn && (isWorking(goesOn) || isElsewhere);
  useEffect(() => {
    void runAndReport(loadImports);
  }, []);
  useEffect(() => {
    if (!works) return;
    const timer = setInterval(() => loadImports().catch(() => {}), POLL_MS);
    return () => {
      clearInterval(timer);
      void runAndReport(loadThreads);
    };
  }, [works]);
  const take = async (/** @type {any} */ event) => {
    const file = event.currentTarget.files?.[0];
    event.currentTarget.value = "";
    if (!file) return;
    if (known && file.size > known.max_bytes) {
      toast({ text: t("imports.too_large", { most: formatBytes(known.max_bytes, language.value) }) });
      return;
    }
    await runAndReport(() => sendExport(file));
  };
  if (known?.max_bytes === 0) return null; // servers that import no chats
  const mayChoose = known && (!goesOn || (isElsewhere && sendingImport.value === null));
  return html`<section class="stack imports" aria-labelledby="imports">
    <div>
      <h3 id="imports">${t("imports.title")}</h3>
      <p class="muted">${t("imports.hint")}</p>
    </div>
    ${mayChoose &&
    html`<div>
      <input ref=${input} type="file" accept=".zip,.json,application/zip,application/json" hidden onChange=${take} />
      <button type="button" class="button" onClick=${() => input.current?.click()}><${Icon} name="attach" size=${18} />${t("imports.choose")}</button>
    </div>`}
    <ul class="plain" aria-live="polite">${known?.data.slice(0, MOST).map((each) => html`<${Row} key=${each.id} of=${each} />`)}</ul>
  </section>`;
}

function Row(/** @type {{of: ChatImport}} */ { of }) {
  const row = useRef(/** @type {HTMLElement | null} */ (null));
  const name = revealText(of.name) || t("imports.title");
  const change = (/** @type {"start" | "cancel"} */ what) => runAndReport(() => changeImport(of.id, what));
  const dismiss = async () => {
    const next = row.current?.nextElementSibling ?? row.current?.previousElementSibling;
    const to = next?.querySelector("button") ?? row.current?.closest("section")?.querySelector("button");
    await runAndReport(() => dismissImport(of.id));
    if (!row.current?.isConnected) /** @type {HTMLElement | null | undefined} */ (to)?.focus();
  };
  return html`<li class="share-row" ref=${row}>
    <div class="grow">
      <span dir="auto">${name}</span>
      <span class=${of.status === "failed" ? "bad small block" : "muted small block"}>${describe(of)}</span>
      <${Progress} of=${of} name=${name} />
    </div>
    ${of.status === "ready" && html`<button type="button" class="button small primary" onClick=${() => change("start")}>${t("imports.start")}</button>`}
    ${hasEnded(of) && html`<button type="button" class="icon-button act" aria-label=${t("imports.dismiss", { name })} title=${t("imports.dismiss", { name })} onClick=${dismiss}><${Icon} name="close" size=${16} /></button>`}
    ${!hasEnded(of) && of.step !== "cancelling" && html`<button type="button" class="button small quiet" onClick=${() => change("cancel")}>${t("common.cancel")}</button>`}
  </li>`;
}

function Progress(/** @type {{of: ChatImport, name: string}} */ { of, name }) {
  if (of.status === "uploading") return html`<progress value=${of.received} max=${of.size} aria-label=${name}></progress>`;
  if (!isWorking(of)) return null;
  return html`<progress value=${of.of ? Math.min(of.done, of.of) : undefined} max=${of.of || undefined} aria-label=${name}></progress>`;
}

/** Returns the state of an import in words. */
function describe(/** @type {ChatImport} */ of) {
  if (of.step === "cancelling") return t("imports.cancelling");
  if (of.status === "failed") return revealText(of.problem?.message ?? "");
  if (of.status === "uploading" && sendingImport.value !== of.id) return t("imports.broken_off");
  const number = (/** @type {number} */ count) => new Intl.NumberFormat(language.value).format(count);
  if (!of.found || (of.status !== "ready" && of.status !== "completed")) return t(`imports.${of.status}`);
  const { conversations, messages, files, present, skipped } = of.found;
  const leftOut = Object.values(skipped).reduce((sum, count) => sum + count, 0);
  return [
    t(`imports.${of.status}`),
    t("imports.found", { conversations: number(conversations), messages: number(messages), files: number(files) }),
    present > 0 && t("imports.present", { count: number(present) }),
    leftOut > 0 && t("imports.left_out", { count: number(leftOut) }),
  ]
    .filter(Boolean)
    .join(" ");
}
