/** Switch between branches: at the message where they fork, or at its answer if only answers differ. */
import { navigate } from "../router.mjs";
import { current } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useRef } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";

/** Position of the message whose switch takes the focus once this thread is shown. */
let wanted = /** @type {{thread: string, number: number | undefined, step: string} | null} */ (null);

/**
 * The switch of the branches that fork at this message, if it belongs here.
 *
 * @param {{number: number | undefined, question?: boolean}} props  `number` of the user's message;
 *   `question` if the switch is at that message, not at its answer
 */
export function BranchSwitch({ number, question = false }) {
  const group = useRef(/** @type {HTMLElement | null} */ (null));
  const isAnswered = current.value?.messages.at(-1)?.metadata?.number !== number;
  const fork = current.value?.branches.find((each) => each.number === number && question !== (each.repeated && isAnswered));
  useEffect(() => {
    if (!group.current || wanted?.number !== number || wanted.thread !== current.value?.thread.id) return;
    const buttons = [...group.current.querySelectorAll("button")].filter((button) => !button.disabled);
    (buttons.find((button) => button.dataset.step === wanted?.step) ?? buttons[0])?.focus();
    wanted = null;
  }, [fork]);
  if (!fork || fork.at.length < 2) return null;
  const { at, here } = fork;
  const [first, second] = here > 0 ? [at[here - 1], at[here]] : [at[0], at[1]];
  const step = (/** @type {number} */ to, /** @type {string} */ icon, /** @type {string} */ label) => {
    const go = () => {
      wanted = { thread: at[to], number, step: icon };
      navigate(`/t/${at[to]}`);
    };
    return html`<button
      type="button" class="icon-button act" data-step=${icon} aria-label=${label} title=${label} disabled=${at[to] === undefined} onClick=${go}
    ><${Icon} name=${icon} size=${16} /></button>`;
  };
  return html`<span class="branches" role="group" aria-label=${t("branches.label")} ref=${group}>
    ${step(here - 1, "left", t("branches.previous"))}
    <span class="numbers small">${here + 1}/${at.length}</span>
    ${step(here + 1, "right", t("branches.next"))}
    <${Link} href=${`/c/${first}/${second}`} class="icon-button act" aria-label=${t("branches.beside")} title=${t("branches.beside")}><${Icon} name="compare" size=${16} /><//>
  </span>`;
}
