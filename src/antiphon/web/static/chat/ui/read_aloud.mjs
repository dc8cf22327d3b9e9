/** Button that reads an answer aloud, or stops it. */
import { canRead, reading, stopReading } from "../reading.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { toast } from "./toasts.mjs";

/** @param {{id: string, text: string}} props */
export function ReadAloud({ id, text }) {
  if (!text || !canRead()) return null;
  const on = reading.value === id;
  const label = t(on ? "speech.stop" : "speech.read");
  return html`<button
    type="button" class=${on ? "icon-button act on" : "icon-button act"} aria-label=${label} title=${label} aria-pressed=${on}
    onClick=${() => (on ? stopReading() : void read(id, text))}
  ><${Icon} name=${on ? "stop" : "speaker"} size=${16} /></button>`;
}

/** @param {string} id @param {string} text */
async function read(id, text) {
  const speech = await import("../speech.mjs").catch(() => null);
  if (speech) speech.readAloud(id, text);
  else toast({ text: t("later.failed"), bad: true });
}
