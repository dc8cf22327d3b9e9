/**
 * The person's prompts where messages are written: `/` lists them, and the places of the one that was
 * taken are filled in one after the other.
 *
 * It handles the keys of the field before the composer does.
 */
import { fillAlike, findPlaces, nextPlace } from "../places.mjs";
import { findPrompts, loadPrompts, prompts, toFill } from "../prompts.mjs";
import { path } from "../store.mjs";
import { t, tCount } from "../t.mjs";
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { runAndReport } from "./toasts.mjs";

/** What is typed of a name: the field holds nothing else. */
const SLASH = /^\/([\p{L}\p{N}_-]*)$/u;

/** Most prompts in the list; typing more of the name shows others. */
const MOST = 8;

/**
 * @typedef {import("../prompts.mjs").Prompt} Prompt
 * @typedef {{current: HTMLTextAreaElement | null}} Area
 */

/** @param {{area: Area}} props the field in which messages are written */
export function SlashPrompts({ area }) {
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const filling = useFilling(area);
  const id = useId();
  const [active, setActive] = useState(0);
  const matches = typed === null ? [] : findPrompts(prompts.value ?? [], typed).slice(0, MOST);
  const open = matches.length > 0 && filling.place === null;
  const take = (/** @type {Prompt} */ prompt) => {
    setTyped(null);
    filling.begin(prompt.text, "");
  };

  const keyed = useRef((/** @type {KeyboardEvent} */ _) => {});
  keyed.current = (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    const done = open ? listKey(event) : filling.place !== null && filling.key(event);
    if (!done) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  /** Returns true if the key was for the list. @param {KeyboardEvent} event */
  const listKey = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined) setActive((active + by + matches.length) % matches.length);
    else if (event.key === "Escape") setTyped(null);
    else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) take(matches[active]);
    else return false;
    return true;
  };

  // Before the next key is heard: it may be for the list already.
  useLayoutEffect(() => {
    const field = area.current;
    const pressed = (/** @type {KeyboardEvent} */ event) => keyed.current(event);
    const input = () => {
      const found = SLASH.exec(field?.value ?? "");
      if (found && !prompts.value) void runAndReport(loadPrompts);
      setTyped(found ? found[1] : null);
      setActive(0);
    };
    const left = () => setTyped(null);
    field?.addEventListener("keydown", pressed, { capture: true });
    field?.addEventListener("input", input);
    field?.addEventListener("blur", left);
    input(); // the slash that has brought this module here
    return () => {
      field?.removeEventListener("keydown", pressed, { capture: true });
      field?.removeEventListener("input", input);
      field?.removeEventListener("blur", left);
    };
  }, []);
  useEffect(() => {
    if (open) announce(tCount("prompts.found", matches.length));
  }, [open, matches.length]);
  useLayoutEffect(() => {
    const field = area.current;
    if (!field || !open) return undefined;
    field.setAttribute("aria-controls", id);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-activedescendant", `${id}-${active}`);
    return () => ["aria-controls", "aria-autocomplete", "aria-activedescendant"].forEach((name) => field.removeAttribute(name));
  }, [open, active]);

  return html`
    ${open &&
    html`<div class="slash-list" id=${id} role="listbox" aria-label=${t("prompts.title")}>
      ${matches.map((prompt, place) => html`<div
        key=${prompt.name} id=${`${id}-${place}`} class="models-option" role="option" aria-selected=${place === active} data-active=${place === active || undefined}
        onPointerDown=${(/** @type {Event} */ event) => event.preventDefault()} onClick=${() => take(prompt)}
      ><span class="grow"><strong class="block" dir="auto">/${prompt.name}</strong><span class="hint clipped block" dir="auto">${prompt.text}</span></span></div>`)}
    </div>`}
    ${filling.place !== null &&
    html`<p class="filling small"><strong dir="auto">${filling.place}</strong> <span class="muted">${t("prompts.keys")}</span></p>`}
  `;
}

/**
 * Fills in the places of a text in the field: each is selected in turn, so that what is typed stands in
 * its place, and in all others of its name.
 *
 * @param {Area} area
 */
function useFilling(area) {
  const [place, setPlace] = useState(/** @type {string | null} */ (null));
  /** The place that is selected: its name, its start, and the characters behind it. */
  const at = useRef(/** @type {{name: string, start: number, behind: number} | null} */ (null));
  const field = () => /** @type {HTMLTextAreaElement} */ (area.current);

  const write = (/** @type {string} */ text) => {
    field().value = text;
    field().dispatchEvent(new Event("input", { bubbles: true }));
  };
  const end = () => {
    at.current = null;
    setPlace(null);
  };
  const select = (/** @type {import("../places.mjs").Place | null} */ next) => {
    if (!next) {
      field().setSelectionRange(field().value.length, field().value.length);
      if (at.current) announce(t("prompts.filled"));
      return end();
    }
    at.current = { name: next.name, start: next.start, behind: field().value.length - next.end };
    field().setSelectionRange(next.start, next.end);
    setPlace(next.name);
    return announce(t("prompts.fill", { name: next.name }));
  };
  /** Takes over what was written at the place, and goes to the next one. */
  const go = (/** @type {boolean} */ back) => {
    const { name, start, behind } = /** @type {NonNullable<typeof at.current>} */ (at.current);
    const written = field().value.length - behind;
    if (written < start) return select(nextPlace(field().value, 0));
    const left = findPlaces(field().value).some((each) => each.start === start && each.end === written);
    const filled = left ? { text: field().value, end: written } : fillAlike(field().value, name, start, written);
    if (!left) write(filled.text);
    return select(nextPlace(filled.text, back ? filled.end - (written - start) : filled.end, back));
  };

  useEffect(() => {
    const emptied = () => field().value === "" && end();
    const form = area.current?.form;
    area.current?.addEventListener("input", emptied);
    form?.addEventListener("submit", end);
    return () => {
      area.current?.removeEventListener("input", emptied);
      form?.removeEventListener("submit", end);
    };
  }, []);
  useEffect(end, [path.value]);
  const begin = (/** @type {string} */ text, /** @type {string} */ before) => {
    write([before, text].filter(Boolean).join("\n"));
    field().focus();
    select(nextPlace(field().value, field().value.length - text.length));
  };
  const wanted = toFill.value;
  // Once the dialog that has chosen the prompt is closed, and has given the focus back.
  useEffect(() => {
    if (wanted === null || !area.current) return;
    toFill.value = null;
    begin(wanted, field().value);
  }, [wanted]);

  return {
    place,
    begin,
    /** Returns true if the key was for a place. @param {KeyboardEvent} event */
    key: (event) => {
      const goes = event.key === "Tab" || (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey);
      if (goes) go(event.key === "Tab" && event.shiftKey);
      else if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) end(); // Ctrl+Enter sends
      return goes || event.key === "Escape";
    },
  };
}
