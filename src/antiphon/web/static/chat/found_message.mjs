/** Shows the message that a search has found. */

/** Frames for which what is above the message may still be laid out. */
const SETTLE_FRAMES = 60;

/**
 * Brings a message into view, marks it for a moment and the words in it until the next search, and puts
 * the focus there.
 *
 * @param {HTMLElement | null} element @param {string} words
 */
export function showFound(element, words) {
  if (!element) return;
  keepInView(element);
  void import("./highlight.mjs").then(({ markWords }) => element.isConnected && markWords(element, words));
  element.classList.add("found");
  element.addEventListener("animationend", () => element.classList.remove("found"), { once: true });
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

/**
 * Scrolls to an element, and again while what is above it is still being laid out, until the reader
 * scrolls or presses a key.
 *
 * @param {HTMLElement} element
 */
function keepInView(element) {
  const moved = new AbortController();
  for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) {
    window.addEventListener(name, () => moved.abort(), { signal: moved.signal, passive: true });
  }
  element.scrollIntoView({ block: "start" });
  let frames = SETTLE_FRAMES;
  const again = () => {
    if (moved.signal.aborted || !element.isConnected || --frames === 0) return moved.abort();
    const { top, bottom } = element.getBoundingClientRect();
    if (bottom <= 0 || top >= window.innerHeight) element.scrollIntoView({ block: "start" });
    requestAnimationFrame(again);
  };
  requestAnimationFrame(again);
}
