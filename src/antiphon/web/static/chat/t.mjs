/**
 * The words of the page in the reader's language.
 *
 * One flat table of messages per language, `i18n/{en,de,es}.json`. Whoever reads a message while they
 * draw is drawn again when the language changes, for the table is a signal.
 */
import { signal } from "./vendor/ui.mjs";

export const LANGUAGES = /** @type {const} */ (["en", "de", "es"]);

/** What each language is called by those who speak it. */
export const LANGUAGE_NAMES = { en: "English", de: "Deutsch", es: "Español" };

/** @type {{value: Record<string, string>}} */
const messages = signal({});

/** The language that is spoken now; dates and numbers are written in it too. */
export const language = signal("en");

/**
 * The message of this name, with `{placeholders}` filled.
 *
 * A name that there is not is shown as it is: a test finds it before a reader does.
 *
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 */
export function t(name, values = {}) {
  const message = messages.value[name] ?? name;
  return message.replace(/\{(\w+)\}/g, (hole, key) => String(values[key] ?? hole));
}

/**
 * The message for so many things, in the grammar of the language: `name.one`, `name.other`.
 *
 * @param {string} name
 * @param {number} count
 */
export function tCount(name, count) {
  const form = new Intl.PluralRules(language.value).select(count) === "one" ? "one" : "other";
  return t(`${name}.${form}`, { count: new Intl.NumberFormat(language.value).format(count) });
}

/**
 * The language to speak: the one that was chosen, else the first of the browser's that we have.
 *
 * @param {string} chosen "auto" or a language's code
 * @param {readonly string[]} spoken what the browser's person reads, the dearest first
 */
export function spokenLanguage(chosen, spoken) {
  const known = (/** @type {string} */ code) => LANGUAGES.find((one) => one === code.toLowerCase().split("-")[0]);
  return known(chosen) ?? spoken.map(known).find(Boolean) ?? "en";
}

/** Has the page speak this language from now on; "auto" asks the browser. */
export async function loadLanguage(/** @type {string} */ chosen) {
  const code = spokenLanguage(chosen, navigator.languages ?? []);
  const answer = await fetch(new URL(`./i18n/${code}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`The words of the page were wanted (${code}); the server said ${answer.status}.`);
  setMessages(code, await answer.json());
}

/** Has the page speak with this table. */
export function setMessages(/** @type {string} */ code, /** @type {Record<string, string>} */ table) {
  language.value = code;
  messages.value = table;
  if (typeof document !== "undefined") document.documentElement.lang = code;
}
