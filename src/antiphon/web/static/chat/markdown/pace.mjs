/** When there is time to draw: once a frame at most, and never most of the time. */

/** After a drawing that took long, three times as long is left to the reader's keys and scrolling. */
const REST = 3;

/**
 * Calls the last work it was given when a frame is due. Nothing is drawn for a page that nobody sees.
 *
 * @returns {{soon: (work: () => void) => void, never: () => void}}
 */
export function frames() {
  /** @type {(() => void) | null} */
  let waiting = null;
  let asked = 0;
  let free = 0;
  const draw = (/** @type {number} */ now) => {
    asked = 0;
    if (!waiting) return;
    if (now < free) return ask();
    const work = waiting;
    waiting = null;
    const began = performance.now();
    work();
    const took = performance.now() - began;
    free = took > 4 ? began + took * (1 + REST) : 0;
  };
  const ask = () => void (asked ||= requestAnimationFrame(draw));
  return {
    soon: (work) => ((waiting = work), ask()),
    never: () => void (waiting = null),
  };
}

/** Calls back once an element comes near the window; each element once, the last work it was given. */
export function sight() {
  /** @type {WeakMap<Element, () => void>} */
  const works = new WeakMap();
  /** @type {IntersectionObserver | undefined} */
  let observer;
  const look = (/** @type {IntersectionObserverEntry[]} */ entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer?.unobserve(target);
      works.get(target)?.();
      works.delete(target);
    }
  };
  return {
    whenSeen(/** @type {Element} */ element, /** @type {() => void} */ work) {
      observer ??= new IntersectionObserver(look, { rootMargin: "400px" });
      works.set(element, work);
      observer.observe(element);
    },
    close: () => observer?.disconnect(),
  };
}
