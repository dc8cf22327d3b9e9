/** Arguments of a call that waits for approval: long values are cut, and the part seen is tracked. */
import { html, useLayoutEffect, useMemo, useRef, useState } from "../vendor/ui.mjs";
import { useFold } from "../folds.mjs";
import { lookalikes, revealPieces } from "../hidden_characters.mjs";
import { members } from "../json.mjs";
import { isSeenWhole, nextPart, seenTo } from "../seen_height.mjs";
import { tCount, t } from "../t.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { Word } from "./word.mjs";

/** Characters of a value beyond which its length is shown. */
const COUNTED = 40;

/** Names that stand in the head. */
const MOST_NAMES = 60;

/** Characters of a name that are shown at first. */
const LONG_NAME = 60;

/** Characters and lines of a value that are shown at first, where there are so few of them and where there are many. */
const ROOM = { few: [600, 8], some: [300, 4], many: [160, 2] };

/** @typedef {ReturnType<typeof useSeenHeight>} Seen */

/**
 * Tracks if all arguments of a question have been in view, and scrolls on to the others.
 *
 * @param {string} question @param {boolean} isOwn  whether they write the arguments themselves
 */
export function useSeenHeight(question, isOwn) {
  const [all, setAll] = useState(false);
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const passed = useRef(0);
  const cut = useRef(/** @type {Map<string, () => void>} */ (new Map()));

  const view = () => {
    const [outer, inner] = [body.current, list.current];
    return outer && inner && { top: outer.scrollTop, height: outer.clientHeight, whole: inner.offsetTop + inner.offsetHeight };
  };
  const look = () => {
    const now = view();
    if (!now || document.visibilityState !== "visible" || now.height === 0) return;
    passed.current = seenTo(passed.current, now);
    if (cut.current.size === 0 && isSeenWhole(passed.current, now)) setAll(true);
  };
  const more = () => {
    for (const open of [...cut.current.values()]) open();
    requestAnimationFrame(() => {
      const now = view();
      if (now && body.current) body.current.scrollTop = nextPart(passed.current, now);
      look();
    });
  };
  /** Notes that a value is cut, or has been opened: what stands below it has moved. */
  const onCut = (/** @type {string} */ name, /** @type {boolean} */ isCut, /** @type {() => void} */ open, /** @type {HTMLElement | null} */ element) => {
    if (isCut) cut.current.set(name, open);
    else if (cut.current.delete(name)) passed.current = Math.min(passed.current, element?.offsetTop ?? 0);
    requestAnimationFrame(look);
  };

  useLayoutEffect(() => {
    const outer = body.current;
    if (!outer) return undefined;
    const sizes = new ResizeObserver(() => {
      if (outer.scrollTop === 0) passed.current = 0; // the layout has changed
      look();
    });
    sizes.observe(outer);
    if (list.current) sizes.observe(list.current);
    outer.addEventListener("scroll", look, { passive: true });
    document.addEventListener("visibilitychange", look);
    return () => {
      sizes.disconnect();
      outer.removeEventListener("scroll", look);
      document.removeEventListener("visibilitychange", look);
    };
  });
  return { all: all || isOwn, body, list, more, onCut };
}

/**
 * Returns true if a name or a value of the arguments hides something that the page reveals. What joins
 * emoji is revealed too, and is no reason for a warning.
 *
 * @param {string} text
 */
export function hidesSomething(text) {
  const given = members(text);
  const texts = given?.flatMap(({ name, value }) => [name, value]) ?? [text];
  if (given?.some(({ name }) => lookalikes(name).length > 0)) return true;
  return texts.some((each) => revealPieces(each, true).some((piece) => piece.kind !== "text" && !/^<U\+(?:200D|FE0F)>$/.test(piece.text)));
}

/** The names of the arguments, in the head of the question. @param {{text: string}} props */
export function ArgumentNames({ text }) {
  const given = useMemo(() => members(text), [text]);
  if (!given?.length) return null;
  return html`<p class="approval-names small"><span class="muted">${tCount("approval.names", given.length)}</span>${" "}${given
    .slice(0, MOST_NAMES)
    .map(({ name }, place) => html`${place > 0 && ", "}<code><${Word} text=${name} judged most=${40} /></code>`)}${given.length > MOST_NAMES && " …"}</p>`;
}

/** All arguments. @param {{text: string, name: string, seen: Seen, onEdit: () => void}} props */
export function Arguments({ text, name, seen, onEdit }) {
  const given = useMemo(() => members(text), [text]);
  const empty = /^\s*(\{\s*\})?\s*$/.test(text);
  const room = !given || given.length <= 3 ? ROOM.few : given.length <= 8 ? ROOM.some : ROOM.many;
  return html`<div class="approval-arguments" ref=${seen.list}>
    <div class="row apart">
      <p class="tool-label">${t(empty ? "tool.no_arguments" : "tool.arguments")}</p>
      <button type="button" class="button quiet small" onClick=${onEdit}><${Icon} name="edit" size=${16} />${t("approval.edit")}</button>
    </div>
    ${given
      ? given.map((each, place) => html`<${Argument} key=${place} each=${each} name=${`${name}:${place}`} room=${room} seen=${seen} />`)
      : !empty && html`<${Value} text=${text} name=${name} room=${room} seen=${seen} label=${t("tool.arguments")} />`}
  </div>`;
}

/** @param {{each: {name: string, value: string, length: number}, name: string, room: number[], seen: Seen}} props */
function Argument({ each, name, room, seen }) {
  return html`<div class="argument" data-long=${each.name.length > LONG_NAME}>
    <p class="argument-name">
      ${each.name.length <= LONG_NAME && html`<code><${Word} text=${each.name} judged /></code>${" "}`}${each.length > COUNTED && html`<span class="muted">${tCount("approval.characters", each.length)}</span>`}
    </p>
    ${each.name.length > LONG_NAME && html`<${Value} text=${each.name} name=${`${name}:name`} room=${[LONG_NAME, 1]} seen=${seen} label=${t("approval.name")} />`}
    <${Value} text=${each.value} name=${name} room=${room} seen=${seen} label=${each.name} />
  </div>`;
}

/** @param {{text: string, name: string, room: number[], seen: Seen, label: string}} props */
function Value({ text, name, room: [limit, lines], seen, label }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const [, setAll] = useFold(`all:${name}`, false);
  return html`<div ref=${element}>
    <${Plain} text=${text} json judged name=${name} limit=${limit} lines=${lines} label=${label} onCut=${(/** @type {boolean} */ isCut) => seen.onCut(name, isCut, () => setAll(true), element.current)} />
  </div>`;
}
