/** Going between the branches of a conversation, at the message where they part. */
import { navigate } from "../router.mjs";
import { current } from "../store.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";

/** @param {{number: number | undefined}} props  of the message */
export function Branches({ number }) {
  const fork = current.value?.branches.find((each) => each.number === number);
  if (!fork || fork.at.length < 2) return null;
  const { at, here } = fork;
  const step = (/** @type {number} */ to, /** @type {string} */ icon, /** @type {string} */ label) => html`<button
    type="button" class="icon-button act" aria-label=${label} title=${label} disabled=${at[to] === undefined} onClick=${() => navigate(`/t/${at[to]}`)}
  ><${Icon} name=${icon} size=${16} /></button>`;
  return html`<span class="branches" role="group" aria-label=${t("branches.label")}>
    ${step(here - 1, "left", t("branches.previous"))}
    <span class="numbers small">${here + 1}/${at.length}</span>
    ${step(here + 1, "right", t("branches.next"))}
  </span>`;
}
