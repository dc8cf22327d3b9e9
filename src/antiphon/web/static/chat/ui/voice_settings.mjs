/** Section of the settings: voice and speed of reading aloud, and which providers get speech and text. */
import { canRead, hasSpeech } from "../reading.mjs";
import { listVoices, readAloud } from "../speech.mjs";
import { changeConsents, consents, me, prefs } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Check, Field } from "./forms.mjs";

const RATES = [0.75, 1, 1.25, 1.5, 2];
const SAMPLE = "speech-sample";

/** @param {{choose: (chosen: Record<string, unknown>) => void}} props */
export function VoiceSettings({ choose }) {
  const [voices, setVoices] = useState(() => (hasSpeech() ? listVoices() : []));
  useEffect(() => {
    if (!hasSpeech()) return undefined;
    const changed = () => setVoices(listVoices());
    speechSynthesis.addEventListener?.("voiceschanged", changed); // they come late
    return () => speechSynthesis.removeEventListener?.("voiceschanged", changed);
  }, []);
  const transcriber = me.value?.transcribed_by;
  const speaker = me.value?.spoken_by;
  if (!hasSpeech() && !me.value?.dictation && !transcriber && !speaker) return null;
  const { voice, voiceRate } = prefs.value;
  const { readAnswers, sendsTextTo } = consents.value;
  const remote = voices.find(({ voiceURI }) => voiceURI === voice)?.localService === false;
  return html`<section class="stack" aria-labelledby="voice">
    <div>
      <h3 id="voice">${t("speech.title")}</h3>
      ${transcriber
        ? html`<p class="muted">${t("dictation.provider_hint", { place: transcriber })}</p>`
        : me.value?.dictation && html`<p class="muted">${t("dictation.hint")}</p>`}
    </div>
    ${speaker &&
    html`<${Check}
        label=${t("speech.provider", { place: speaker })} hint=${t("speech.provider_hint", { place: speaker })} checked=${sendsTextTo === speaker}
        onChange=${(/** @type {boolean} */ on) => changeConsents({ sendsTextTo: on ? speaker : null })}
      />`}
    ${hasSpeech() &&
    html`<${Field} label=${t("speech.voice")} hint=${t(remote ? "speech.remote_hint" : "speech.voice_hint")}>
        <select class="input" onChange=${(/** @type {any} */ event) => choose({ voice: event.currentTarget.value || null })}>
          <option value="" selected=${!voice}>${t("speech.usual_voice")}</option>
          ${voices.map((each) => html`<option key=${each.voiceURI} value=${each.voiceURI} selected=${each.voiceURI === voice}>${each.name} (${each.lang})</option>`)}
        </select>
      <//>`}
    ${canRead() &&
    html`<${Field} label=${t("speech.rate")}>
        <select class="input" onChange=${(/** @type {any} */ event) => choose({ voiceRate: Number(event.currentTarget.value) })}>
          ${RATES.map((rate) => html`<option key=${rate} value=${rate} selected=${rate === (voiceRate || 1)}>${rate} ×</option>`)}
        </select>
      <//>
      <${Check} label=${t("speech.automatic")} hint=${t("speech.automatic_hint")} checked=${readAnswers} onChange=${(/** @type {boolean} */ on) => changeConsents({ readAnswers: on })} />
      <div class="row"><button type="button" class="button" onClick=${() => readAloud(SAMPLE, t("speech.sample"))}>${t("speech.try")}</button></div>`}
  </section>`;
}
