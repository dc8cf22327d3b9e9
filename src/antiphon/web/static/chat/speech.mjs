/**
 * Reading aloud, one text at a time: by the voices of the browser, or by a provider that the person agreed to.
 *
 * @module
 */

import { postForBlob, Problem, renewMe } from "./api.mjs";
import { canRead, hasSpeech, playing, reading, readingProvider, stopReading } from "./reading.mjs";
import { textOf } from "./reduce.mjs";
import { threadOf } from "./router.mjs";
import { consents, current, live, me, path, phase, prefs } from "./store.mjs";
import { language, t } from "./t.mjs";
import { sentence, toast } from "./ui/toasts.mjs";
import { effect, untracked } from "./vendor/ui.mjs";

/** Longest piece that is given to the browser: some stop in longer ones. */
const PIECE = 200;

/** Longest passages that are sent to a provider: a short first one is heard soon. */
const FIRST_PASSAGE = 200;
const PASSAGE = 800;

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
  reading.value = name;
  const provider = readingProvider();
  if (provider) void readByProvider(name, toPassages(pieces), provider);
  else readByBrowser(name, pieces);
}

/** @param {string} name @param {string[]} pieces */
function readByBrowser(name, pieces) {
  const { voice: chosen, voiceRate } = prefs.value;
  const voice = speechSynthesis.getVoices().find(({ voiceURI }) => voiceURI === chosen);
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

/**
 * Has the passages spoken one by one, each next one while the one before is heard. What cannot be spoken is read by
 * the browser. The server speaks nothing if the provider is another one by now.
 *
 * @param {string} name @param {string[]} passages @param {string} provider  that the person agreed to
 */
async function readByProvider(name, passages, provider) {
  const controller = (playing.now = new AbortController());
  const { signal } = controller;
  let place = 0;
  try {
    let next = postForBlob("/api/speech", { text: passages[0], provider }, signal);
    for (; place < passages.length; place += 1) {
      const audio = await next;
      if (place + 1 < passages.length) {
        next = postForBlob("/api/speech", { text: passages[place + 1], provider }, signal);
        next.catch(() => {}); // awaited later
      }
      await play(audio, signal);
    }
    if (!signal.aborted) reading.value = null;
  } catch (failed) {
    if (signal.aborted) return;
    controller.abort(); // the next passage
    const rest = hasSpeech() ? toPieces(passages.slice(place).join("\n")) : [];
    const why = await explainFailure(failed);
    if (reading.value !== name || playing.now !== controller) return; // stopped meanwhile
    toast({ text: `${why} ${t(rest.length ? "speech.browser_goes_on" : "speech.provider_failed")}`, bad: true });
    if (rest.length) readByBrowser(name, rest);
    else reading.value = null;
  }
}

/** Returns why a passage was not heard. @param {unknown} failed @returns {Promise<string>} */
async function explainFailure(failed) {
  if (!(failed instanceof Problem)) return t("speech.not_played");
  if (failed.status !== 409) return sentence(failed);
  try {
    await renewMe();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return sentence(error);
  }
  return t("speech.provider_changed", { place: me.value?.spoken_by ?? "" });
}

/** Plays to the end, or until it is stopped. @param {Blob} audio @param {AbortSignal} signal */
async function play(audio, signal) {
  const address = URL.createObjectURL(audio);
  const player = new Audio(address);
  player.playbackRate = prefs.value.voiceRate || 1;
  try {
    await new Promise((resolve, reject) => {
      player.addEventListener("ended", resolve);
      player.addEventListener("error", () => reject(player.error));
      signal.addEventListener("abort", () => reject(signal.reason));
      player.play().catch(reject);
    });
  } finally {
    player.pause();
    URL.revokeObjectURL(address);
  }
}

/** Reads each answer aloud that is complete from now on, if the person wants that; leaving its chat stops it. */
export function readNewAnswers() {
  let awaited = /** @type {{thread: string, before: string | null, id: string | null} | null} */ (null);
  effect(() => {
    const thread = current.value?.thread.id;
    const last = current.value?.messages.at(-1);
    if (awaited?.thread !== thread) awaited = null;
    if (thread && phase.value !== "idle") awaited ??= { thread, before: last?.id ?? null, id: null };
    if (awaited && live.value) awaited.id = live.value.id;
    if (!awaited || live.value || phase.value !== "idle") return;
    // A short answer may be whole before it was ever `live`: then it is the message that was not there before.
    const { before, id } = awaited;
    awaited = null;
    if (last?.role !== "assistant" || (id === null ? last.id === before : last.id !== id)) return;
    const isWhole = (last.metadata?.status ?? "completed") === "completed";
    untracked(() => isWhole && canRead() && consents.value.readAnswers && readAloud(last.id, textOf(last)));
  });
  let shown = threadOf(path.value);
  effect(() => {
    const thread = threadOf(path.value); // another one may come beside it
    if (thread !== shown) untracked(() => reading.value !== null && stopReading());
    shown = thread;
  });
  window.addEventListener("pagehide", stopReading);
}

/**
 * Returns the words of an answer in Markdown as they are said: without code, marks and addresses. The answer may hold
 * anything: each expression takes time that grows with its length, not with the square of it.
 *
 * @param {string} markdown
 */
export function toSpeech(markdown) {
  return markdown
    .replace(/^(```|~~~)[^\n]*\n[\s\S]*?(?:^\1[^\n]*$|(?![\s\S]))/gm, "\n")
    .replace(/!?\[([^[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)/g, "$1")
    .replace(/https?:\/\/\S+/g, "")
    .replace(/^\s{0,3}(?:#{1,6}|>|[-*+]|\d+[.)])\s+/gm, "")
    .replace(/^(?=[ \t:-]*\|)[ \t:|-]+$/gm, "")
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

/** Joins pieces to passages for a provider, each as long as it may be. @param {string[]} pieces @returns {string[]} */
export function toPassages(pieces) {
  /** @type {string[]} */
  const passages = [];
  for (const piece of pieces) {
    const last = passages.at(-1);
    const most = passages.length > 1 ? PASSAGE : FIRST_PASSAGE;
    if (last !== undefined && last.length + piece.length < most) passages[passages.length - 1] = `${last} ${piece}`;
    else passages.push(piece);
  }
  return passages;
}
