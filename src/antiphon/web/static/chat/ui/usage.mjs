/** Tokens and costs of an answer, and their sums over a thread. */
import { language, t } from "../t.mjs";
import { total } from "../usage.mjs";
import { html, useState } from "../vendor/ui.mjs";

/** Usage of an answer, with details on demand. */
export function MessageUsage(/** @type {{metadata?: import("../usage.mjs").Account}} */ { metadata }) {
  const used = metadata?.usage;
  if (!used || !(used.inputTokens || used.outputTokens)) return null;
  return html`<${Used} summary=${summary(used, metadata.cost ?? null)} details=${parts(used)} />`;
}

/** Usage of a thread, in the top bar. */
export function ThreadUsage(/** @type {{messages: {metadata?: import("../usage.mjs").Account}[]}} */ { messages }) {
  const { usage, cost } = total(messages.map((message) => message.metadata));
  if (!usage.inputTokens && !usage.outputTokens) return null;
  return html`<${Used} summary=${summary(usage, cost)} details=${parts(usage)} className="thread-usage" />`;
}

/** A count that shows its details when pressed, as touch screens have no hover. */
function Used(/** @type {{summary: string, details: string, className?: string}} */ { summary: words, details, className = "" }) {
  const [open, setOpen] = useState(false);
  return html`<button
    type="button" class=${`usage muted small numbers ${className}`} title=${open ? undefined : details} aria-expanded=${open}
    onClick=${() => setOpen(!open)}
  >${words}${open && html`<span class="usage-details">${details}</span>`}</button>`;
}

/** Formats small amounts of money: three significant digits. */
export function money(/** @type {number} */ dollars) {
  const digits = dollars >= 1 ? { maximumFractionDigits: 2 } : { maximumSignificantDigits: 2, maximumFractionDigits: 6 };
  return new Intl.NumberFormat(language.value, { style: "currency", currency: "USD", ...digits }).format(dollars);
}

/** Formats a count, short: 12,400 is 12.4K. */
export function short(/** @type {number} */ count) {
  return new Intl.NumberFormat(language.value, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

/** Formats a count with all digits. */
export function whole(/** @type {number} */ count) {
  return new Intl.NumberFormat(language.value).format(count);
}

function summary(/** @type {import("../usage.mjs").Tokens} */ used, /** @type {number | null} */ cost) {
  const tokens = t("usage.tokens", { count: short(used.inputTokens + used.outputTokens) });
  return cost === null || cost === undefined ? tokens : `${tokens} · ${money(cost)}`;
}

function parts(/** @type {import("../usage.mjs").Tokens} */ used) {
  return t("usage.parts", {
    input: whole(used.inputTokens),
    cached: whole(used.cachedTokens),
    output: whole(used.outputTokens),
    reasoning: whole(used.reasoningTokens),
  });
}
