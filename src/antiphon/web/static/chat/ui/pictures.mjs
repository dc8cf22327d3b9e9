/** The pictures that the light box shows. */
import { html, signal } from "../vendor/ui.mjs";
import { laterView } from "./later_view.mjs";

/**
 * @typedef {{address: string, name: string}} Picture  `address` is that of a file of this server
 *
 * The pictures of the light box, and which of them is shown; null while it is closed.
 */
export const shown = signal(/** @type {{pictures: readonly Picture[], place: number} | null} */ (null));

const Opened = laterView(() => import("./lightbox.mjs").then((module) => module.Lightbox), { over: true });

/** Opens the light box at one of these pictures. @param {readonly Picture[]} pictures @param {number} place */
export function openLightbox(pictures, place) {
  shown.value = { pictures, place };
}

export const closeLightbox = () => {
  shown.value = null;
};

/** The light box, which exists once in the page. */
export function Lightbox() {
  return shown.value && html`<${Opened} ...${shown.value} onClose=${closeLightbox} />`;
}
