/** Reasoning of the model: one line, which opens. */
import { html } from "../vendor/ui.mjs";
import { useSeconds } from "../elapsed.mjs";
import { useFold } from "../folds.mjs";
import { secondsOf } from "../reduce.mjs";
import { formatSeconds } from "../units.mjs";
import { tCount, language, t } from "../t.mjs";
import { Icon } from "./icons.mjs";
import { Markdown } from "./markdown.mjs";

/** Characters per token, approximately, for models whose tokens are not counted. */
const CHARACTERS_PER_TOKEN = 4;

/**
 * The reasoning of one reply. `name` is what its clock and its fold are kept by, also when the
 * message in progress becomes the saved one.
 *
 * @param {{part: import("../reduce.mjs").Part, live: boolean, name: string}} props
 */
export function Reasoning({ part, live, name }) {
  const thinking = live && part.state === "streaming";
  const [open, setOpen] = useFold(name, false);
  const told = secondsOf(part);
  const counted = useSeconds(name, thinking, told);
  const seconds = (thinking ? counted : told || counted) ?? 0;
  const size = tCount("reasoning.tokens", Math.max(1, Math.round(part.text.length / CHARACTERS_PER_TOKEN)));
  return html`<section class="reasoning" data-thinking=${thinking}>
    <button type="button" class="reasoning-head" aria-expanded=${open} onClick=${() => setOpen(!open)}>
      ${thinking ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name=${open ? "down" : "right"} size=${16} />`}
      <span>${reasoningLabel(thinking, seconds)}</span>${" "}
      <span class="muted numbers">${size}</span>
    </button>
    ${open && html`<div class="reasoning-text"><${Markdown} text=${part.text} live=${thinking} /></div>`}
  </section>`;
}

/** Returns the words about a reasoning that has ended or goes on. @param {boolean} thinking @param {number} seconds */
export function reasoningLabel(thinking, seconds) {
  const time = seconds >= 1 ? formatSeconds(seconds, language.value) : "";
  if (thinking) return time ? t("reasoning.thinking_for", { time }) : t("reasoning.thinking");
  return time ? t("reasoning.thought_for", { time }) : t("reasoning.thought");
}
