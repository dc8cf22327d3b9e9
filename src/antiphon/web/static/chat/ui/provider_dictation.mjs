/** Dictation by a provider: what is said is recorded, sent there, and its text is written at the cursor. */
import { post } from "../api.mjs";
import { prefs } from "../store.mjs";
import { language, t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { Dialog } from "./dialog.mjs";
import { Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { sentence, toast } from "./toasts.mjs";

/** Longest recording. */
const MOST_MS = 120_000;
/** Formats of browsers, the one that most servers read first. */
const FORMATS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const PIECE_MS = 1000;

/** Messages of the errors of a microphone, by their names. */
const PROBLEMS = /** @type {Record<string, string>} */ ({
  NotAllowedError: "dictation.not_allowed",
  NotFoundError: "dictation.audio_capture",
  NotReadableError: "dictation.audio_capture",
});

/**
 * Button that begins and ends a recording. Before the first one the person agrees that it is sent.
 *
 * @param {{area: {current: HTMLTextAreaElement | null}, place: string}} props  `place` gets what is said
 */
export function ProviderDictation({ area, place }) {
  const [phase, setPhase] = useState(/** @type {"" | "asking" | "recording" | "writing"} */ (""));
  const recorder = useRef(/** @type {MediaRecorder | null} */ (null));
  const left = useRef(false);
  useEffect(
    () => () => {
      left.current = true;
      recorder.current?.stop();
    },
    [],
  );

  const record = async () => {
    setPhase("recording");
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const format = FORMATS.find((each) => MediaRecorder.isTypeSupported(each));
      const recording = new MediaRecorder(stream, format ? { mimeType: format } : {});
      /** @type {Blob[]} */
      const pieces = [];
      const timer = setTimeout(() => recording.state === "recording" && recording.stop(), MOST_MS);
      recording.ondataavailable = ({ data }) => pieces.push(data);
      recording.onstop = () => {
        clearTimeout(timer);
        for (const track of stream.getTracks()) track.stop();
        recorder.current = null;
        if (!left.current) void write(new Blob(pieces, { type: recording.mimeType }));
      };
      if (left.current) return stream.getTracks().forEach((track) => track.stop());
      recorder.current = recording;
      recording.start(PIECE_MS);
      announce(t("dictation.begun"));
    } catch (/** @type {any} */ failed) {
      setPhase("");
      toast({ text: t(PROBLEMS[failed?.name] ?? "dictation.failed"), bad: true });
    }
    return undefined;
  };
  const write = async (/** @type {Blob} */ recorded) => {
    setPhase("writing");
    announce(t("dictation.writing"));
    const form = new FormData();
    form.append("language", language.value);
    form.append("file", recorded, "speech");
    try {
      const { text } = await post("/api/transcriptions", {}, { body: form, headers: {} });
      if (text) insert(area.current, text);
      announce(t(text ? "dictation.ended" : "dictation.nothing"));
    } catch (failed) {
      toast({ text: sentence(failed), bad: true });
    }
    setPhase("");
  };
  const agree = async () => {
    prefs.value = { ...prefs.value, sendsVoiceTo: place };
    await record();
  };
  const press = () => {
    if (phase === "recording") recorder.current?.stop();
    else if (prefs.value.sendsVoiceTo === place) void record();
    else setPhase("asking");
  };

  const label = t(phase === "writing" ? "dictation.writing" : phase === "recording" ? "dictation.stop" : "dictation.start");
  return html`<button
      type="button" class=${phase === "recording" ? "icon-button on" : "icon-button"} aria-label=${label} title=${label}
      aria-pressed=${phase === "recording"} disabled=${phase === "writing"} onClick=${press}
    >${phase === "writing" ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name="microphone" />`}</button>
    ${phase === "asking" &&
    html`<${Dialog} title=${t("dictation.consent_title")} onClose=${() => setPhase("")}>
      <${Form} onSubmit=${agree} action=${t("dictation.consent_action")} onCancel=${() => setPhase("")}><p>${t("dictation.consent", { place })}</p><//>
    <//>`}`;
}

/** Writes a text at the cursor of the field. @param {HTMLTextAreaElement | null} field @param {string} text */
function insert(field, text) {
  if (!field) return;
  const before = field.value.slice(0, field.selectionStart);
  const gap = before && !/\s$/.test(before) ? " " : "";
  field.setRangeText(gap + text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
}
