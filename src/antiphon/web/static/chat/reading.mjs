/**
 * State of reading aloud. The module that reads, `speech.mjs`, is loaded later.
 *
 * @module
 */

import { consents, me } from "./store.mjs";
import { signal } from "./vendor/ui.mjs";

/** Stops what a provider reads. */
export const playing = { now: new AbortController() };

/** Name of the answer that is read now, or null. */
export const reading = signal(/** @type {string | null} */ (null));

/** Returns the provider that reads, with its address; "" if the person did not agree to it. */
export const readingProvider = () => {
  const provider = me.value?.spoken_by ?? "";
  return provider && consents.value.sendsTextTo === provider ? provider : "";
};

/** Returns true if answers can be read aloud. */
export const canRead = () => hasSpeech() || readingProvider() !== "";

/** Returns true if this browser can read aloud. */
export const hasSpeech = () => "speechSynthesis" in globalThis && "SpeechSynthesisUtterance" in globalThis;

/** Stops reading. */
export function stopReading() {
  reading.value = null;
  playing.now.abort();
  if (hasSpeech()) speechSynthesis.cancel();
}
