/** The person's own prompts, kept on the server. */
import { get, put } from "./api.mjs";
import { me } from "./store.mjs";
import { computed, signal } from "./vendor/ui.mjs";

/** @typedef {{name: string, text: string, starter: boolean}} Prompt  `starter`: offered in an empty chat */

/** The list as it was loaded, and whose it is: another person may log in on this page. */
const kept = signal(/** @type {{data: Prompt[], version: string | null, person: string} | null} */ (null));

const person = () => me.value?.person?.id ?? "";

/** The prompts, null until they are loaded. */
export const prompts = computed(() => (kept.value?.person === person() ? kept.value.data : null));

/** A prompt whose places are to be filled in where messages are written, until it stands there. */
export const toFill = signal(/** @type {string | null} */ (null));

/** Loads the prompts. */
export async function loadPrompts() {
  kept.value = { ...(await get("/api/prompts")), person: person() };
}

/**
 * Saves a prompt in place of the one of this name, null for a new one.
 *
 * @param {string | null} name @param {Prompt} prompt
 */
export const savePrompt = (name, prompt) =>
  change((data) => (data.some((each) => each.name === name) ? data.map((each) => (each.name === name ? prompt : each)) : [...data, prompt]));

/** @param {string} name */
export const deletePrompt = (name) => change((data) => data.filter((each) => each.name !== name));

/**
 * Saves the changed list. If it was changed elsewhere meanwhile, nothing is saved and the list is
 * loaded again.
 *
 * @param {(data: Prompt[]) => Prompt[]} by
 */
async function change(by) {
  if (!prompts.value) await loadPrompts();
  const { data, version } = /** @type {NonNullable<typeof kept.value>} */ (kept.value);
  try {
    kept.value = { ...(await put("/api/prompts", { data: by(data), version })), person: person() };
  } catch (/** @type {any} */ problem) {
    if (problem.status === 409) await loadPrompts();
    throw problem;
  }
}

/** Returns the prompts whose names begin with this, then those that hold it. @param {readonly Prompt[]} all @param {string} typed */
export function findPrompts(all, typed) {
  const wanted = typed.toLowerCase();
  const at = (/** @type {Prompt} */ { name }) => name.toLowerCase().indexOf(wanted);
  return all.filter((prompt) => at(prompt) >= 0).sort((one, other) => Number(at(one) > 0) - Number(at(other) > 0));
}
