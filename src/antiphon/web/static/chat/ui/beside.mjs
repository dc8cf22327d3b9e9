/** Two answers to each question, beside each other: the view of `/c/{thread}/{other}`. */
import { modelAt, shortName } from "../comparison.mjs";
import { loadEarlier, stopAt } from "../conversation_actions.mjs";
import { findDivision, isOwn } from "../division.mjs";
import { versionsBeside } from "../forks.mjs";
import { asMessage } from "../outbox.mjs";
import { roundsOf, withUnsent } from "../rounds.mjs";
import { navigate } from "../router.mjs";
import { BESIDE, MAIN, prefs } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { otherThan } from "./branches.mjs";
import { focusComposer } from "./composer.mjs";
import { liveRow, messagesAt, savedRow, useObjectCache } from "./conversation.mjs";
import { Here } from "./here.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Waiting } from "./message.mjs";
import { Person } from "./messages.mjs";
import { Notice } from "./notice.mjs";
import { Word } from "./word.mjs";

/** Messages that are loaded to reach the question at which the two divide. */
const MANY = 500;

/** @typedef {import("../store.mjs").Pane} Pane */
/** @typedef {import("../rounds.mjs").Round} Round */

/** The panes, and what messages need to know of theirs. */
const SIDES = [MAIN, BESIDE].map((at) => ({ at, findVersions }));

export function Beside() {
  const made = useObjectCache();
  const [one, other] = [MAIN.current.value, BESIDE.current.value];
  const begins = findDivision();
  const first = one?.messages[0]?.metadata.number;
  const lacks = Boolean(one?.hasEarlier && begins && first !== undefined && first > begins);
  useEffect(() => {
    if (lacks) void loadEarlier(MANY);
  }, [lacks, first]);
  if (BESIDE.lost.value) return html`<${Alone} text=${t("compare.unknown")} threads=${[one]} />`;
  if (BESIDE.problem.value && !other) return html`<${Alone} text=${BESIDE.problem.value.message} threads=${[one]} />`;
  if (begins === undefined || lacks) return html`<p class="waiting muted" role="status"><span class="spinner" aria-hidden="true"></span>${t("common.loading")}</p>`;
  if (begins === null) return html`<${Alone} text=${t("compare.unrelated")} threads=${[one, other]} />`;

  const sides = SIDES.map(({ at }) => {
    const { before, now, entries } = messagesAt(at);
    const unsent = entries.map((entry) => made(entry, () => ({ ...asMessage(entry), entry })));
    return { shared: before.filter((message) => !isOwn(message, begins)), own: withUnsent([...before.filter((message) => isOwn(message, begins)), ...(now ? [now] : [])], unsent), now };
  });
  const rounds = roundsOf(sides[0].own, sides[1].own);
  const row = (/** @type {any} */ message) => made(message, () => (sides.some(({ now }) => now === message) ? liveRow(message) : savedRow(message)));
  const names = SIDES.map(({ at }) => modelAt(at));
  return html`
    <${Here.Provider} value=${SIDES[0]}>${sides[0].shared.map(row)}<//>
    ${rounds.map((round, place) => html`<${OneRound} key=${place} round=${round} names=${names} isLast=${place === rounds.length - 1} row=${row} />`)}
  `;
}

/** Says why there are no two answers, with links to what there is. @param {{text: string, threads: (import("../store.mjs").Current | null)[]}} props */
function Alone({ text, threads }) {
  return html`<${Notice} bad role="alert" text=${text}>
    ${threads.map((each) => each && html`<${Link} key=${each.thread.id} class="button small" href=${`/t/${each.thread.id}`}>${t("compare.open", { title: each.thread.title || t("threads.untitled") })}<//>`)}
  <//>`;
}

/** @param {{round: Round, names: string[], isLast: boolean, row: (message: any) => any}} props */
function OneRound({ round: { turns, same }, names, isLast, row }) {
  const asked = same && turns[0]?.question;
  return html`<${Here.Provider} value=${SIDES[0]}>${asked && html`<${Question} message=${asked} />`}<//>
    <div class="round">${turns.map(
      (turn, side) => html`<${Here.Provider} key=${side} value=${SIDES[side]}>
        <${Side} side=${side} turn=${turn} names=${names} ownQuestion=${!same} isLast=${isLast} row=${row} />
      <//>`,
    )}</div>`;
}

/** @param {{message: any}} props */
const Question = ({ message }) => html`<${Person} key=${message.key ?? message.id} message=${message} isSent=${!message.entry} />`;

/** @param {{side: number, turn: import("../rounds.mjs").Turn | null, names: string[], ownQuestion: boolean, isLast: boolean, row: (message: any) => any}} props */
function Side({ side, turn, names, ownQuestion, isLast, row }) {
  const { at } = SIDES[side];
  const question = /** @type {any} */ (turn?.question);
  const answered = turn?.answers.findLast(({ metadata }) => metadata.model)?.metadata.model;
  const model = answered ? shortName(answered) : names[side];
  const label = names[0] === names[1] ? `${model} (${side + 1})` : model;
  const thread = at.current.value?.thread.id;
  const goOn = () => {
    prefs.value = { ...prefs.value, model: at.current.value?.model ?? prefs.value.model };
    navigate(`/t/${thread}`);
    focusComposer();
    announce(t("compare.goes_on", { model: label }));
  };
  const isRunning = isLast && at.phase.value !== "idle";
  return html`<div class="side" role="group" aria-label=${t("compare.answer_of", { model: label })}>
    <div class="side-head row">
      <p class="small grow breaks" dir="auto"><${Word} text=${label} most=${60} /></p>
      ${isRunning && html`<button
        type="button" class="icon-button act" aria-label=${t("compare.stop", { model: label })} title=${t("compare.stop", { model: label })}
        disabled=${at.phase.value === "stopping"} onClick=${() => void stopAt(at)}
      ><${Icon} name="stop" size=${16} /></button>`}
    </div>
    ${ownQuestion && question && html`<${Question} message=${question} />`}
    ${turn?.answers.map(row)}
    ${question?.entry && html`<${Waiting} entry=${question.entry} />`}
    ${isLast && html`<button type="button" class="button small side-choice" aria-label=${t("compare.go_on_with", { model: label })} onClick=${goOn}>${t("compare.go_on")}</button>`}
  </div>`;
}

/** Returns the versions between which the switch of a pane goes. @param {Pane} pane @param {number | undefined} number @param {boolean} question @returns {import("./branches.mjs").Versions} */
function findVersions(pane, number, question) {
  const [open, there] = [pane, otherThan(pane)].map(({ current }) => current.value);
  const [fork, other] = [open, there].map((each) => each?.branches.find((one) => one.number === number));
  const own = versionsBeside(fork, other, question, there?.thread.id);
  const beside = question ? versionsBeside(other, fork, true, open?.thread.id) : null;
  // Both have this version of the question: they go to another one together.
  const isShared = fork && other && fork.columns[fork.here] !== other.columns[other.here] && beside?.here === own.here;
  return { ...own, others: isShared && beside ? beside.at : [] };
}
