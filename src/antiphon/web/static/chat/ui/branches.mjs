/** Switch between branches: at the message where they fork, or at its answer if only answers differ. */
import { besideOf, navigate } from "../router.mjs";
import { BESIDE, MAIN, path } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useContext, useEffect, useRef } from "../vendor/ui.mjs";
import { Here } from "./here.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";

/** Position of the message whose switch takes the focus once this thread is shown. */
let wanted = /** @type {{thread: string, number: number | undefined, step: string} | null} */ (null);

/**
 * The switch of the branches that fork at this message, if it belongs here. In a comparison it is the one
 * of an answer's own column, without the version in the other column.
 *
 * @param {{number: number | undefined, question?: boolean}} props  `number` of the user's message;
 *   `question` if the switch is at that message, not at its answer
 */
export function BranchSwitch({ number, question = false }) {
  const { at: pane } = useContext(Here);
  const group = useRef(/** @type {HTMLElement | null} */ (null));
  const isBeside = besideOf(path.value) !== null;
  const open = pane.current.value;
  const isAnswered = open?.messages.at(-1)?.metadata?.number !== number;
  const fork = open?.branches.find((each) => each.number === number && question !== (each.repeated && isAnswered));
  useEffect(() => {
    if (!group.current || wanted?.number !== number || wanted.thread !== open?.thread.id) return;
    const buttons = [...group.current.querySelectorAll("button")].filter((button) => !button.disabled);
    (buttons.find((button) => button.dataset.step === wanted?.step) ?? buttons[0])?.focus();
    wanted = null;
  }, [fork]);
  if (!fork || (isBeside && question)) return null;
  const there = isBeside ? otherThan(pane).current.value : null;
  const taken = there?.branches.find((each) => each.number === number);
  const at = fork.at.filter((id, place) => id === fork.at[fork.here] || (id !== there?.thread.id && place !== taken?.here));
  const here = at.indexOf(fork.at[fork.here]);
  if (at.length < 2) return null;
  const [first, second] = here > 0 ? [at[here - 1], at[here]] : [at[0], at[1]];
  const step = (/** @type {number} */ to, /** @type {string} */ icon, /** @type {string} */ label) => {
    const go = () => {
      wanted = { thread: at[to], number, step: icon };
      navigate(addressWith(pane, at[to]));
    };
    return html`<button
      type="button" class="icon-button act" data-step=${icon} aria-label=${label} title=${label} disabled=${at[to] === undefined} onClick=${go}
    ><${Icon} name=${icon} size=${16} /></button>`;
  };
  return html`<span class="branches" role="group" aria-label=${t("branches.label")} ref=${group}>
    ${step(here - 1, "left", t("branches.previous"))}
    <span class="numbers small">${here + 1}/${at.length}</span>
    ${step(here + 1, "right", t("branches.next"))}
    ${!isBeside && html`<${Link} href=${`/c/${first}/${second}`} class="icon-button act" aria-label=${t("branches.beside")} title=${t("branches.beside")}><${Icon} name="compare" size=${16} /><//>`}
  </span>`;
}

/** @param {import("../store.mjs").Pane} pane */
const otherThan = (pane) => (pane === MAIN ? BESIDE : MAIN);

/** Returns the address at which a pane shows this thread, and the other pane what it shows. @param {import("../store.mjs").Pane} pane @param {string} thread */
function addressWith(pane, thread) {
  const other = otherThan(pane).current.value?.thread.id;
  if (besideOf(path.value) === null || !other) return `/t/${thread}`;
  return pane === MAIN ? `/c/${thread}/${other}` : `/c/${other}/${thread}`;
}
