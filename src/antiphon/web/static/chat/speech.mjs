/**
 * Reading aloud by the voices of the browser, one text at a time.
 *
 * @module
 */

import { textOf } from "./reduce.mjs";
import { current, live, path, phase, prefs } from "./store.mjs";
import { language } from "./t.mjs";
import { effect, signal, untracked } from "./vendor/ui.mjs";

/** Longest piece that is given to the browser: some stop in longer ones. */
const PIECE = 200;

/** The name of what is read now, or null. */
export const reading = signal(/** @type {string | null} */ (null));

/** Returns true if this browser can read aloud. */
export const hasSpeech = () => "speechSynthesis" in globalThis && "SpeechSynthesisUtterance" in globalThis;

/** The voices of the browser, those of the page's language first. */
export function listVoices() {
  const own = (/** @type {SpeechSynthesisVoice} */ voice) => voice.lang.toLowerCase().startsWith(language.value);
  return speechSynthesis.getVoices().toSorted((one, other) => Number(own(other)) - Number(own(one)));
}

/**
 * Reads a text aloud, and nothing else any more.
 *
 * @param {string} name  what `reading` has meanwhile @param {string} text
 */
export function readAloud(name, text) {
  stopReading();
  const pieces = toPieces(toSpeech(text));
  if (pieces.length === 0) return;
  const { voice: chosen, voiceRate } = prefs.value;
  const voice = speechSynthesis.getVoices().find(({ voiceURI }) => voiceURI === chosen);
  reading.value = name;
  pieces.forEach((piece, place) => {
    const spoken = new SpeechSynthesisUtterance(piece);
    if (voice) spoken.voice = voice;
    spoken.lang = voice?.lang ?? language.value;
    spoken.rate = voiceRate || 1;
    const ends = () => {
      if (reading.value === name && place === pieces.length - 1) reading.value = null;
    };
    spoken.onend = ends;
    spoken.onerror = ends;
    speechSynthesis.speak(spoken);
  });
}

/** Stops reading. */
export function stopReading() {
  reading.value = null;
  if (hasSpeech()) speechSynthesis.cancel();
}

/** Reads each answer aloud that is complete from now on, if the person wants that; leaving its chat stops it. */
export function readNewAnswers() {
  if (!hasSpeech()) return;
  let awaited = /** @type {{id: string, thread: string} | null} */ (null);
  effect(() => {
    const thread = current.value?.thread.id;
    if (live.value && thread) awaited = { id: live.value.id, thread };
    if (awaited && thread !== awaited.thread) awaited = null;
    const last = current.value?.messages.at(-1);
    if (!awaited || live.value || phase.value !== "idle" || last?.id !== awaited.id) return;
    awaited = null;
    const isWhole = (last.metadata?.status ?? "completed") === "completed";
    untracked(() => isWhole && prefs.value.readAnswers && readAloud(last.id, textOf(last)));
  });
  effect(() => {
    path.value;
    untracked(() => reading.value !== null && stopReading());
  });
  window.addEventListener("pagehide", stopReading);
}

/**
 * Returns the words of an answer in Markdown as they are said: without code, marks and addresses.
 *
 * @param {string} markdown
 */
export function toSpeech(markdown) {
  return markdown
    .replace(/^(```|~~~)[^\n]*\n[\s\S]*?(?:^\1[^\n]*$|(?![\s\S]))/gm, "\n")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/https?:\/\/\S+/g, "")
    .replace(/^\s{0,3}(?:#{1,6}|>|[-*+]|\d+[.)])\s+/gm, "")
    .replace(/^\s*\|?[\s:|-]+\|[\s:|-]*$/gm, "")
    .replace(/[*_`|~]+/g, " ")
    .replace(/[ \t]+/g, " ")
    .trim();
}

/** Cuts a text at the ends of sentences into pieces that are not too long. @param {string} text @returns {string[]} */
export function toPieces(text) {
  /** @type {string[]} */
  const pieces = [];
  for (const sentence of text.split(/(?<=[.!?…:;])\s+|\n+/)) {
    let left = sentence.trim();
    while (left.length > PIECE) {
      const blank = left.lastIndexOf(" ", PIECE);
      const end = blank > 0 ? blank : PIECE;
      pieces.push(left.slice(0, end));
      left = left.slice(end).trim();
    }
    if (left) pieces.push(left);
  }
  return pieces;
}
