/** Texts about the person that every assistant reads: instructions, and memories. */
import { get, patch, post, remove } from "./api.mjs";
import { me } from "./store.mjs";
import { computed, signal } from "./vendor/ui.mjs";

/**
 * @typedef {{instructions: string, instructions_enabled: boolean, memory_enabled: boolean, updated_at: number}} PersonalSettings
 * @typedef {{id: string, text: string, source: "person" | "assistant", thread_id: string | null, created_at: number, updated_at: number}} Memory
 */

/** The loaded texts, and their owner: another person may log in on this page. */
const kept = signal(/** @type {{settings: PersonalSettings, memories: Memory[], person: string} | null} */ (null));

const person = () => me.value?.person?.id ?? "";
const own = computed(() => (kept.value?.person === person() ? kept.value : null));

/** The settings, null until they are loaded. */
export const personalSettings = computed(() => own.value?.settings ?? null);

/** The memories, newest first; null until they are loaded. */
export const memories = computed(() => own.value?.memories ?? null);

/** Loads the settings and the memories. */
export async function loadPersonal() {
  const whose = person();
  kept.value = { ...(await get("/api/personal")), person: whose };
}

/** @param {Partial<PersonalSettings>} changes */
export async function changePersonal(changes) {
  const settings = await patch("/api/personal", changes);
  if (kept.value) kept.value = { ...kept.value, settings };
}

/** Adds a memory, or replaces the text of the one of this id. @param {string | null} id @param {string} text */
export async function saveMemory(id, text) {
  const saved = await (id === null ? post("/api/memories", { text }) : patch(`/api/memories/${encodeURIComponent(id)}`, { text }));
  setMemories((all) => (id === null ? [saved, ...all] : all.map((each) => (each.id === id ? saved : each))));
}

/** @param {string} id */
export async function deleteMemory(id) {
  await remove(`/api/memories/${encodeURIComponent(id)}`);
  setMemories((all) => all.filter((each) => each.id !== id));
}

export async function deleteMemories() {
  await remove("/api/memories");
  setMemories(() => []);
}

/** @param {(all: Memory[]) => Memory[]} by */
function setMemories(by) {
  if (kept.value) kept.value = { ...kept.value, memories: by(kept.value.memories) };
}

/** The memories that have these words, whatever their case. @param {readonly Memory[]} all @param {string} words */
export function findMemories(all, words) {
  const wanted = words.trim().toLocaleLowerCase();
  return all.filter(({ text }) => text.toLocaleLowerCase().includes(wanted));
}
