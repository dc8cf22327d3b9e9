/** Possible owners: the local user, people, and projects. */
import { get } from "../api.mjs";
import { t } from "../t.mjs";

/** Returns the names of possible owners by id. @returns {Promise<Map<string, string>>} */
export async function possibleOwners() {
  const [people, projects] = await Promise.all([get("/api/admin/people"), get("/api/admin/projects")]);
  const named = [...people.data, ...projects.data].map((/** @type {{id: string, name: string}} */ { id, name }) => [id, name]);
  return new Map([["local", t("people.everybody")], ...named]);
}
