/**
 * Messages of the page in the user's language.
 *
 * One flat table of messages per language, `i18n/{en,de,es}.json`. The table is a signal: components are
 * redrawn when the language changes.
 */
import { signal } from "./vendor/ui.mjs";

export const LANGUAGES = /** @type {const} */ (["en", "de", "es"]);

/** Native names of the languages. */
export const LANGUAGE_NAMES = { en: "English", de: "Deutsch", es: "Español" };

/** @type {{value: Record<string, string>}} */
const messages = signal({});

/** The current language, also for dates and numbers. */
export const language = signal("en");

/**
 * Returns the message of this name with `{placeholders}` filled.
 *
 * An unknown name is returned as it is; a test finds such names.
 *
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 */
export function t(name, values = {}) {
  const message = messages.value[name] ?? name;
  return message.replace(/\{(\w+)\}/g, (hole, key) => String(values[key] ?? hole));
}

/** Returns whether there is a message of this name. */
export function hasMessage(/** @type {string} */ name) {
  return name in messages.value;
}

/**
 * Returns the message for a count in the plural form of the language: `name.one`, `name.other`.
 *
 * @param {string} name
 * @param {number} count
 */
export function tCount(name, count) {
  const form = new Intl.PluralRules(language.value).select(count) === "one" ? "one" : "other";
  return t(`${name}.${form}`, { count: new Intl.NumberFormat(language.value).format(count) });
}

/**
 * Returns the language to use: the chosen one, else the browser's first that is available.
 *
 * @param {string} chosen "auto" or a language's code
 * @param {readonly string[]} spoken what the browser's person reads, the dearest first
 */
export function spokenLanguage(chosen, spoken) {
  const known = (/** @type {string} */ code) => LANGUAGES.find((one) => one === code.toLowerCase().split("-")[0]);
  return known(chosen) ?? spoken.map(known).find(Boolean) ?? "en";
}

/** Loads and sets the language; "auto" uses the browser's. */
export async function loadLanguage(/** @type {string} */ chosen) {
  const code = spokenLanguage(chosen, navigator.languages ?? []);
  const answer = await fetch(new URL(`./i18n/${code}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`The words of the page were wanted (${code}); the server said ${answer.status}.`);
  setMessages(code, await answer.json());
}

/** Sets the language and its table. */
export function setMessages(/** @type {string} */ code, /** @type {Record<string, string>} */ table) {
  language.value = code;
  messages.value = table;
  if (typeof document !== "undefined") document.documentElement.lang = code;
}
