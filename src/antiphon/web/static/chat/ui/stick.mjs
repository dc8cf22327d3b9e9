/** Keeps the end of a conversation in view unless the reader has scrolled up. */
import { html, signal, useLayoutEffect, useMemo } from "../vendor/ui.mjs";
import { isAway } from "../follow_end.mjs";
import { tCount, t } from "../t.mjs";
import { Icon } from "./icons.mjs";

/**
 * @typedef {object} Stick
 * @property {{value: boolean}} away  whether the reader has scrolled up
 * @property {{value: number}} fresh  how much has come since
 * @property {() => void} toEnd
 * @property {() => void} leave  the reader goes elsewhere
 */

/**
 * Keeps the element scrolled to its end. `count` is what is counted as new: messages; another `thread`
 * begins at its end, and one without messages at its beginning.
 *
 * @param {{current: HTMLElement | null}} ref what scrolls; the sizes of its children are watched
 * @param {number} count
 * @param {string | null} [thread]
 * @returns {Stick}
 */
export function useStick(ref, count, thread = null) {
  const stick = useMemo(() => createStick(ref), []);
  useLayoutEffect(() => stick.counted(count), [count]);
  useLayoutEffect(() => stick.begin(), [thread]);
  useLayoutEffect(() => stick.watch(), []);
  return stick;
}

/** Brings the reader back to the end, and says how much has come meanwhile. @param {{stick: Stick}} props */
export function Latest({ stick }) {
  if (!stick.away.value) return null;
  const fresh = stick.fresh.value;
  const label = fresh > 0 ? tCount("stick.fresh", fresh) : t("stick.latest");
  return html`<button type="button" class="latest" onClick=${stick.toEnd}><${Icon} name="down" size=${18} />${label}</button>`;
}

/** @param {{current: HTMLElement | null}} ref */
function createStick(ref) {
  const away = signal(false);
  const fresh = signal(0);
  let count = 0;
  let seen = 0;
  let last = { top: 0, height: 0, view: 0 };

  const toEnd = () => {
    const element = ref.current;
    if (!element) return;
    away.value = false;
    element.scrollTop = count > 0 ? element.scrollHeight : 0;
    last = measure(element);
  };
  const grown = () => {
    if (!away.value && count > 0) toEnd();
  };
  const leave = () => {
    if (count === 0) return;
    if (!away.value) seen = count;
    away.value = true;
    fresh.value = count - seen;
  };
  const scrolled = () => {
    const element = ref.current;
    if (!element) return;
    const now = measure(element);
    if (isAway(away.value, last, now)) leave();
    else away.value = false;
    last = now;
  };
  // A wheel is heard before the view moves: what grows meanwhile must not win against the reader.
  const wheeled = (/** @type {WheelEvent} */ event) => {
    const element = ref.current;
    if (element && event.deltaY < 0 && element.scrollTop > 0 && !scrollsInside(event.target, element)) leave();
  };

  const watch = () => {
    const element = ref.current;
    if (!element) return undefined;
    const sizes = new ResizeObserver(grown);
    const observe = () => [element, ...element.children].forEach((each) => sizes.observe(each));
    const children = new MutationObserver(observe);
    observe();
    children.observe(element, { childList: true });
    element.addEventListener("scroll", scrolled, { passive: true });
    element.addEventListener("wheel", wheeled, { passive: true });
    return () => {
      sizes.disconnect();
      children.disconnect();
      element.removeEventListener("scroll", scrolled);
      element.removeEventListener("wheel", wheeled);
    };
  };

  return {
    away,
    fresh,
    toEnd,
    leave,
    watch,
    begin: toEnd,
    counted: (/** @type {number} */ now) => {
      count = now;
      fresh.value = away.value ? Math.max(0, count - seen) : 0;
    },
  };
}

/** @param {HTMLElement} element */
const measure = ({ scrollTop: top, scrollHeight: height, clientHeight: view }) => ({ top, height, view });

/** Returns true if an element between the two scrolls by itself. @param {EventTarget | null} target @param {HTMLElement} outer */
function scrollsInside(target, outer) {
  for (let at = target; at instanceof HTMLElement && at !== outer; at = at.parentElement) {
    if (at.scrollTop > 0 && /auto|scroll/.test(getComputedStyle(at).overflowY)) return true;
  }
  return false;
}
