/** The artifact that is open beside the conversation. */
import { besideOf, threadOf } from "../router.mjs";
import { BESIDE, MAIN, path } from "../store.mjs";
import { html, signal, useEffect } from "../vendor/ui.mjs";
import { laterView } from "./later_view.mjs";

/**
 * @typedef {object} Version an artifact, and the message that it stands in
 * @property {import("../markdown/artifacts.mjs").Artifact} artifact
 * @property {string} message
 * @property {string} thread
 */

const Panel = laterView(() => import("./artifact_panel.mjs").then((module) => module.ArtifactPanel), { over: true });

/** The artifact that is open, and the button that opened it. */
const opened = signal(/** @type {{version: Version, opener: Element | null} | null} */ (null));

/** Opens an artifact. @param {Version} version */
export function openArtifact(version) {
  opened.value = { version, opener: document.activeElement };
}

/** Closes the panel; the focus returns to the button that opened it. */
function close() {
  const opener = opened.value?.opener;
  opened.value = null;
  if (opener instanceof HTMLElement && opener.isConnected) opener.focus({ preventScroll: true });
}

/** The panel of the open artifact; it closes with its conversation. */
export function ArtifactPlace() {
  const version = opened.value?.version;
  const isOpen = version !== undefined && [threadOf(path.value), besideOf(path.value)].includes(version.thread);
  const at = [MAIN, BESIDE].find(({ current }) => current.value?.thread.id === version?.thread);
  useEffect(() => {
    if (!isOpen) opened.value = null;
  }, [isOpen]);
  return isOpen && at && html`<${Panel} at=${at} shown=${version} onClose=${close} />`;
}
