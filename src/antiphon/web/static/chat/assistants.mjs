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
 *
 * @typedef {{id: string, provider: string, default: boolean, context_tokens: number | null, lacks: string[]}} Model
 */

/** The user's assistants, null until they are loaded. */
export const assistants = signal(/** @type {Assistant[] | null} */ (null));

/** The models to choose from, null until they are loaded. */
export const models = signal(/** @type {Model[] | null} */ (null));

/** The assistant of new chats, or null. */
export const chosenAssistant = computed(
  () => assistants.value?.find((assistant) => assistant.id === prefs.value.assistant) ?? null,
);

/** Loads all assistants of the user, page by page. */
export async function loadAssistants() {
  const all = [];
  for (let after = null; ; ) {
    const { data, has_more: more, next } = await get("/api/assistants", { query: { after } });
    all.push(...data);
    if (!more) break;
    after = next;
  }
  assistants.value = all;
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
