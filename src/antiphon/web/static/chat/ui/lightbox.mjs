/** Light box: a picture of the conversation as large as the window, with its neighbours beside it. */
import { html, useEffect, useLayoutEffect, useRef } from "../vendor/ui.mjs";
import { t } from "../t.mjs";
import { Icon } from "./icons.mjs";
import { closeLightbox as close, shown } from "./pictures.mjs";
import { Word } from "./word.mjs";

/** @param {{pictures: readonly import("./pictures.mjs").Picture[], place: number}} props */
export function Lightbox({ pictures, place }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const { address, name } = pictures[place];
  const many = pictures.length > 1;
  const step = (/** @type {number} */ by) => {
    shown.value = { pictures, place: (place + by + pictures.length) % pictures.length };
  };
  useLayoutEffect(() => {
    const opened = dialog.current;
    const before = document.activeElement;
    opened?.showModal();
    opened?.focus();
    return () => {
      opened?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  // A way back in the browser leaves the conversation, and so the picture.
  useEffect(() => {
    window.addEventListener("popstate", close);
    return () => window.removeEventListener("popstate", close);
  }, []);
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    event.stopPropagation(); // the page has a meaning for Esc too
    const by = many ? { ArrowLeft: -1, ArrowRight: 1 }[event.key] : undefined;
    if (by) step(by);
  };
  const canceled = (/** @type {Event} */ event) => {
    event.preventDefault();
    close();
  };
  const beside = (/** @type {MouseEvent} */ event) => event.target instanceof Element && !event.target.closest("img, button, a") && close();
  const button = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {() => void} */ press) =>
    html`<button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${press}><${Icon} name=${icon} /></button>`;
  return html`<dialog ref=${dialog} class="lightbox" tabindex="-1" aria-label=${t("lightbox.label")} onCancel=${canceled} onKeyDown=${keyed} onClick=${beside}>
    <header class="lightbox-head">
      <p class="grow clipped" aria-live="polite"><${Word} text=${name} />${many && html` <span class="muted numbers">${t("approval.place", { place: place + 1, of: pictures.length })}</span>`}</p>
      <a class="icon-button" href=${address} download=${name} aria-label=${t("lightbox.download")} title=${t("lightbox.download")}><${Icon} name="export" /></a>
      ${button("close", t("dialog.close"), close)}
    </header>
    <div class="lightbox-stage" data-many=${many}>
      ${many && button("left", t("lightbox.previous"), () => step(-1))}
      <img key=${address} src=${`${address}?inline=1`} alt=${name} />
      ${many && button("right", t("lightbox.next"), () => step(1))}
    </div>
  </dialog>`;
}
