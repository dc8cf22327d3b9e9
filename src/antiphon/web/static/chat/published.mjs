/** Publishing assistants to all users of the installation, and copying those of others. */
import { post, remove } from "./api.mjs";
import { loadAssistants } from "./assistants.mjs";

/** Publishes the user's assistant. */
export async function publishAssistant(/** @type {string} */ id) {
  await post(`/api/assistants/${encodeURIComponent(id)}/publish`, {});
  await loadAssistants();
}

/** Takes the user's assistant back. */
export async function unpublishAssistant(/** @type {string} */ id) {
  await remove(`/api/assistants/${encodeURIComponent(id)}/publish`);
  await loadAssistants();
}

/** Copies another user's assistant, and returns the copy. */
export async function copyPublished(/** @type {string} */ id) {
  const copy = await post(`/api/published_assistants/${encodeURIComponent(id)}/copies`, {});
  await loadAssistants();
  return copy;
}
