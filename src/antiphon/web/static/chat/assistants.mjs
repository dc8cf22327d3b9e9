/** The user's assistants, and the models to choose from. */
import { get, patch, post, remove } from "./api.mjs";
import { newThread } from "./conversation_actions.mjs";
import { navigate } from "./router.mjs";
import { prefs } from "./store.mjs";
import { computed, signal } from "./vendor/ui.mjs";

/**
 * @typedef {object} Assistant
 * @property {string} id
 * @property {string} name
 * @property {string | null} model
 * @property {string | null} instructions
 * @property {string[] | null} tools  null: all functions, and all tools if `mcp_servers` is null too
 * @property {string[] | null} mcp_servers  servers of which all tools may be used
 * @property {string[]} starters
 * @property {number | null} max_tool_calls  of an answer
 * @property {number | null} max_output_tokens  of a reply
 * @property {string[]} [file_ids]  files whose text it may search
 * @property {string | null} shared
 * @property {number | null} [published_at]
 * @property {string} [author]  of a published one of another user
 *
 * @typedef {{id: string, provider: string, default: boolean, context_tokens: number | null, lacks: string[]}} Model
 */

/** The user's assistants, null until they are loaded. */
export const assistants = signal(/** @type {Assistant[] | null} */ (null));

/** The assistants that other users have published, null until they are loaded. */
export const published = signal(/** @type {Assistant[] | null} */ (null));

/** Whether the user may publish assistants. */
export const canPublish = signal(false);

/** The models to choose from, null until they are loaded. */
export const models = signal(/** @type {Model[] | null} */ (null));

/** The assistant of new chats, or null. */
export const chosenAssistant = computed(
  () => [...(assistants.value ?? []), ...(published.value ?? [])].find(({ id }) => id === prefs.value.assistant) ?? null,
);

/** Loads the user's assistants, and those that others have published. */
export async function loadAssistants() {
  const [own, all] = await Promise.all([loadAll("/api/assistants"), loadAll("/api/published_assistants")]);
  const ids = new Set(own.map(({ id }) => id));
  published.value = all.filter(({ id }) => !ids.has(id));
  assistants.value = own;
}

/** Returns the assistants of all pages. @returns {Promise<Assistant[]>} */
async function loadAll(/** @type {string} */ address) {
  const all = [];
  for (let after = null; ; ) {
    const page = await get(address, { query: { after } });
    all.push(...page.data);
    if ("publishing" in page) canPublish.value = page.publishing;
    if (!page.has_more) return all;
    after = page.next;
  }
}

/** Loads the models. */
export async function loadModels() {
  models.value = (await get("/api/models")).data;
}

/** Saves an assistant, a new one if it has no id, and returns it. */
export async function saveAssistant(/** @type {string | null} */ id, /** @type {Partial<Assistant>} */ fields) {
  const kept = id ? await patch(address(id), fields) : await post("/api/assistants", fields);
  await loadAssistants();
  return kept;
}

/** Deletes an assistant; new chats do without it. */
export async function deleteAssistant(/** @type {string} */ id) {
  await remove(address(id));
  if (prefs.value.assistant === id) prefs.value = { ...prefs.value, assistant: null };
  await loadAssistants();
}

/** Creates a copy of the assistant under another name. */
export async function copyAssistant(/** @type {Assistant} */ assistant, /** @type {string} */ name) {
  const { model, instructions, tools, mcp_servers, starters, max_tool_calls, max_output_tokens } = assistant;
  return saveAssistant(null, { name, model, instructions, tools, mcp_servers, starters, max_tool_calls, max_output_tokens });
}

/** Creates the link by which others may copy the assistant. */
export async function shareAssistant(/** @type {string} */ id) {
  const { token } = await post(`${address(id)}/share`, {});
  await loadAssistants();
  return linkOf(token);
}

/** Removes the assistant's link. */
export async function unshareAssistant(/** @type {string} */ id) {
  await remove(`${address(id)}/share`);
  await loadAssistants();
}

/** The address of a shared assistant's card, as it is sent to others. */
export function linkOf(/** @type {string} */ token) {
  return new URL(`/a/${encodeURIComponent(token)}`, window.location.href).href;
}

/** Begins a chat with this assistant; it answers in new chats from now on. */
export function chatWith(/** @type {string | null} */ id) {
  prefs.value = { ...prefs.value, assistant: id, model: null };
  newThread();
  navigate("/");
}

function address(/** @type {string} */ id) {
  return `/api/assistants/${encodeURIComponent(id)}`;
}
