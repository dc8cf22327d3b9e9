/** Scheduling of drawing: at most once per frame, and never most of the time. */

/** After a slow drawing, three times its duration is left free for keys and scrolling. */
const REST = 3;

/**
 * Returns a queue that runs the newest work at the next frame. Nothing is drawn in a hidden page.
 *
 * @returns {{soon: (work: () => void) => void, never: () => void}}
 */
export function createFrameQueue() {
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

/** Returns a queue that runs the newest work of an element, once, when it comes near the window. */
export function createSightQueue() {
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
