/** Dictation: what is said is written where messages are written, by the operator's provider or by the browser. */
import { me } from "../store.mjs";
import { language, t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { currentPlace, isSamePlace } from "./composer_draft.mjs";
import { Icon } from "./icons.mjs";
import { ProviderDictation } from "./provider_dictation.mjs";
import { toast } from "./toasts.mjs";

/** The recognition of this browser, if it has one. */
const recognition = () => /** @type {any} */ (globalThis).SpeechRecognition ?? /** @type {any} */ (globalThis).webkitSpeechRecognition;

/** Messages of the errors that a person can do something about. */
const PROBLEMS = /** @type {Record<string, string>} */ ({
  "not-allowed": "dictation.not_allowed",
  "service-not-allowed": "dictation.service_not_allowed",
  "audio-capture": "dictation.audio_capture",
  network: "dictation.network",
  "language-not-supported": "dictation.language_not_supported",
});

const hasDictation = () => Boolean(recognition());

/** Button that begins and ends dictation. @param {{area: {current: HTMLTextAreaElement | null}}} props */
export function Dictation({ area }) {
  const provider = me.value?.transcribed_by;
  return provider ? html`<${ProviderDictation} provider=${provider} />` : html`<${BrowserDictation} area=${area} />`;
}

/**
 * Dictation by the speech recognition of the browser. What is recognized replaces the text behind the cursor's place
 * until it is final.
 *
 * @param {{area: {current: HTMLTextAreaElement | null}}} props
 */
function BrowserDictation({ area }) {
  const [listening, setListening] = useState(false);
  const current = useRef(/** @type {any} */ (null));
  useEffect(() => () => current.current?.abort(), []);

  const stop = () => current.current?.stop();
  const start = () => {
    const field = area.current;
    if (!field) return;
    const hears = new (recognition())();
    hears.lang = language.value;
    hears.continuous = true;
    hears.interimResults = true;
    const before = field.value.slice(0, field.selectionStart);
    const after = field.value.slice(field.selectionEnd);
    let written = field.value;
    const place = currentPlace();
    hears.onstart = () => {
      setListening(true);
      announce(t("dictation.begun"));
    };
    hears.onresult = (/** @type {any} */ event) => {
      // What is typed meanwhile stays as it is, and another chat gets nothing.
      if (field.value !== written || !isSamePlace(place, currentPlace())) return hears.abort();
      const said = [...event.results].map((result) => result[0].transcript).join("");
      const gap = before && !/\s$/.test(before) ? " " : "";
      written = before + gap + said.trimStart() + after;
      field.value = written;
      const end = written.length - after.length;
      field.setSelectionRange(end, end);
      field.dispatchEvent(new Event("input", { bubbles: true }));
      return undefined;
    };
    hears.onerror = (/** @type {any} */ { error }) => {
      if (error === "aborted" || error === "no-speech") return;
      toast({ text: t(PROBLEMS[error] ?? "dictation.failed"), bad: true });
    };
    hears.onend = () => {
      setListening(false);
      current.current = null;
      announce(t("dictation.ended"));
    };
    current.current = hears;
    hears.start();
    field.focus();
  };
  if (!hasDictation()) return null;
  const label = t(listening ? "dictation.stop" : "dictation.start");
  return html`<button
    type="button" class=${listening ? "icon-button on" : "icon-button"} aria-label=${label} title=${label} aria-pressed=${listening}
    onClick=${listening ? stop : start}
  ><${Icon} name="microphone" /></button>`;
}
