/** Dictation by a provider: what is said is recorded, sent there, and its text is written at the cursor. */
import { post, renewMe } from "../api.mjs";
import { changeConsents, consents, draftOwner, path, signedOut } from "../store.mjs";
import { language, t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { currentPlace, isSamePlace, writeInto } from "./composer_draft.mjs";
import { Dialog } from "./dialog.mjs";
import { Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { sentence, toast } from "./toasts.mjs";

/** Longest recording. */
const MAX_RECORDING_MS = 120_000;
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
 * Button that begins and ends a recording. Before the first one the person agrees that it is sent, and again before
 * one is sent to another provider.
 *
 * @param {{provider: string}} props  its name and address
 */
export function ProviderDictation({ provider }) {
  const [phase, setPhase] = useState(/** @type {"" | "asking" | "recording" | "writing"} */ (""));
  const recorder = useRef(/** @type {MediaRecorder | null} */ (null));
  /** A recording that waits until the person agrees to the provider of today. */
  const waiting = useRef(/** @type {{recorded: Blob, place: import("./composer_draft.mjs").Place} | null} */ (null));
  const spokenAt = useRef(/** @type {import("./composer_draft.mjs").Place | null} */ (null));
  // A recording belongs to one chat: it ends where that chat is left.
  useEffect(() => {
    if (spokenAt.current && !isSamePlace(spokenAt.current, currentPlace())) stopRecording(recorder.current);
  }, [path.value]);
  const left = useRef(false);
  useEffect(
    () => () => {
      left.current = true;
      stopRecording(recorder.current);
    },
    [],
  );

  const record = async () => {
    const place = currentPlace();
    if (!place) return;
    spokenAt.current = place;
    setPhase("recording");
    /** @type {MediaStreamTrack[]} */
    let tracks = [];
    const close = () => tracks.forEach((track) => track.stop());
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      tracks = stream.getTracks();
      // The browser may ask for a long time, in which the person goes elsewhere.
      if (left.current || !isSamePlace(place, currentPlace())) {
        close();
        return setPhase("");
      }
      const format = FORMATS.find((each) => MediaRecorder.isTypeSupported(each));
      const recording = new MediaRecorder(stream, format ? { mimeType: format } : {});
      /** @type {Blob[]} */
      const pieces = [];
      const timer = setTimeout(() => stopRecording(recording), MAX_RECORDING_MS);
      recording.ondataavailable = ({ data }) => pieces.push(data);
      recording.onstop = () => {
        clearTimeout(timer);
        close();
        recorder.current = null;
        void write(new Blob(pieces, { type: recording.mimeType }), place);
      };
      recorder.current = recording;
      recording.start(PIECE_MS);
      return announce(t("dictation.begun"));
    } catch (/** @type {any} */ failed) {
      close();
      recorder.current = null;
      setPhase("");
      toast({ text: t(PROBLEMS[failed?.name] ?? "dictation.failed"), bad: true });
      return undefined;
    }
  };
  const write = async (/** @type {Blob} */ recorded, /** @type {import("./composer_draft.mjs").Place} */ place) => {
    if (signedOut.value || place.owner !== draftOwner.value) return setPhase("");
    if (recorded.size === 0) {
      announce(t("dictation.nothing"));
      return setPhase("");
    }
    setPhase("writing");
    announce(t("dictation.writing"));
    const form = new FormData();
    form.append("language", language.value);
    form.append("provider", consents.value.sendsVoiceTo ?? "");
    form.append("file", recorded, "speech");
    try {
      const { text } = await post("/api/transcriptions", {}, { body: form, headers: {} });
      const where = text ? writeInto(place, text) : "nowhere";
      if (where === "stored") toast({ text: t("dictation.stored") });
      else if (where === "lost") toast({ text: t("dictation.lost") });
      else announce(t(where === "shown" ? "dictation.ended" : "dictation.nothing"));
    } catch (/** @type {any} */ failed) {
      if (failed.status === 409 && (await askAgain())) {
        waiting.current = { recorded, place };
        return setPhase("asking");
      }
      toast({ text: sentence(failed), bad: true });
    }
    return setPhase("");
  };
  const agree = async () => {
    changeConsents({ sendsVoiceTo: provider });
    const unsent = waiting.current;
    waiting.current = null;
    await (unsent ? write(unsent.recorded, unsent.place) : record());
  };
  const close = () => {
    waiting.current = null;
    setPhase("");
  };
  const press = () => {
    if (phase === "recording") stopRecording(recorder.current);
    else if (consents.value.sendsVoiceTo === provider) void record();
    else setPhase("asking");
  };

  const label = t(phase === "writing" ? "dictation.writing" : phase === "recording" ? "dictation.stop" : "dictation.start");
  return html`<button
      type="button" class=${phase === "recording" ? "icon-button on" : "icon-button"} aria-label=${label} title=${label}
      aria-pressed=${phase === "recording"} disabled=${phase === "writing"} onClick=${press}
    >${phase === "writing" ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name="microphone" />`}</button>
    ${phase === "asking" &&
    html`<${Dialog} title=${t("dictation.consent_title")} onClose=${close}>
      <${Form} onSubmit=${agree} action=${t(waiting.current ? "dictation.consent_again_action" : "dictation.consent_action")} onCancel=${close}>
        <p>${t(waiting.current ? "dictation.consent_again" : "dictation.consent", { place: provider })}</p>
      <//>
    <//>`}`;
}

/** Learns of the provider of today. Returns false if the server does not say it. */
async function askAgain() {
  try {
    return Boolean((await renewMe()).transcribed_by);
  } catch (/** @type {any} */ error) {
    if (error.name === "Problem") return false;
    throw error;
  }
}

/** Ends a recording, which is transcribed then. @param {MediaRecorder | null} recording */
function stopRecording(recording) {
  if (recording?.state === "recording") recording.stop();
}
