/** Switch between branches: at the message where they fork, or at its answer if only answers differ. */
import { besideOf, navigate } from "../router.mjs";
import { BESIDE, MAIN, path } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useContext, useLayoutEffect, useRef } from "../vendor/ui.mjs";
import { Here } from "./here.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";

/** Position of the message whose switch takes the focus once this thread is shown. */
let wanted = /** @type {{thread: string, number: number | undefined, step: string} | null} */ (null);

/**
 * The switch of the branches that fork at this message, if it belongs here. In a comparison the one of an
 * answer is that of its own column; the one of a question that both columns have leads to its versions in both.
 *
 * @param {{number: number | undefined, question?: boolean}} props  `number` of the user's message;
 *   `question` if the switch is at that message, not at its answer
 */
export function BranchSwitch({ number, question = false }) {
  const { at: pane, findVersions = findHere } = useContext(Here);
  const group = useRef(/** @type {HTMLElement | null} */ (null));
  const isBeside = besideOf(path.value) !== null;
  const open = pane.current.value;
  const { at, here, others } = findVersions(pane, number, question);
  // Before the next key is heard: it may be for the switch already.
  useLayoutEffect(() => {
    if (!group.current || wanted?.number !== number || wanted.thread !== open?.thread.id) return;
    const buttons = [...group.current.querySelectorAll("button")].filter((button) => !button.disabled);
    (buttons.find((button) => button.dataset.step === wanted?.step) ?? buttons[0])?.focus();
    wanted = null;
  }, [at[here], at.length]);
  if (at.length < 2) return null;
  const [first, second] = here > 0 ? [at[here - 1], at[here]] : [at[0], at[1]];
  const step = (/** @type {number} */ to, /** @type {string} */ icon, /** @type {string} */ label) => {
    const go = () => {
      wanted = { thread: at[to], number, step: icon };
      navigate(addressWith(pane, at[to], others[to]));
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

/**
 * @typedef {{at: string[], here: number, others: (string | undefined)[]}} Versions  the threads to switch
 *   between, and what the other column shows beside each
 * @typedef {import("../store.mjs").Pane} Pane
 */

/** @param {Pane} pane @param {number | undefined} number @param {boolean} question @returns {Versions} */
function findHere(pane, number, question) {
  const open = pane.current.value;
  const isAnswered = open?.messages.at(-1)?.metadata?.number !== number;
  const fork = open?.branches.find((each) => each.number === number && question !== (each.repeated && isAnswered));
  return { at: fork?.at ?? [], here: fork?.here ?? 0, others: [] };
}

/** @param {import("../store.mjs").Pane} pane */
export const otherThan = (pane) => (pane === MAIN ? BESIDE : MAIN);

/** Returns the address at which a pane shows this thread, and the other pane the other one, or else what it shows. @param {import("../store.mjs").Pane} pane @param {string} thread @param {string} [beside] */
function addressWith(pane, thread, beside) {
  const other = beside ?? otherThan(pane).current.value?.thread.id;
  if (besideOf(path.value) === null || !other) return `/t/${thread}`;
  return pane === MAIN ? `/c/${thread}/${other}` : `/c/${other}/${thread}`;
}
