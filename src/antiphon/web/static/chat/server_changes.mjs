/** Requests that change MCP servers, and what a person types about a new one. */
import { patch, post, remove } from "./api.mjs";
import { joinCommand, splitCommand } from "./command_line.mjs";
import { refreshServers } from "./servers.mjs";
import { t } from "./t.mjs";
import { FormError } from "./ui/forms.mjs";

/**
 * @typedef {{transport: string, file: string, is_own: boolean, target: string}} Source
 * @typedef {{name: string, title: string, version: string, status: string, problem: string, tools: number, instructions: string, has_prompts: boolean, has_resources: boolean, stderr: string, login: string, source: Source | null}} Server
 * @typedef {{data: Server[], may_change: boolean, programs: boolean, file: string, config: string, unapproved: string[]}} ServerList
 * @typedef {{added: string[], changed: string[], removed: string[]}} Changes
 * @typedef {{name: string, url: string, transport: string, headers: Record<string, string>}} NewAddress
 * @typedef {{name: string, command: string[], env: Record<string, string | null>}} NewProgram
 */

const NAME = /^[A-Za-z0-9_-]+$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** States that pass by themselves. */
export const isSettling = (/** @type {Server} */ { status }) => status === "starting" || status === "restarting";

const pathOf = (/** @type {string} */ name) => `/api/servers/${encodeURIComponent(name)}`;

/** @param {string} name */
export const restartServer = (name) => refreshAfter(post(`${pathOf(name)}/restart`));

/** @param {string} name @param {boolean} enabled */
export const switchServer = (name, enabled) => refreshAfter(patch(pathOf(name), { enabled }));

/** @param {string} name */
export const removeServer = (name) => refreshAfter(remove(pathOf(name)));

/** @returns {Promise<{changes: Changes, servers: ServerList}>} */
export const lookForServers = () => refreshAfter(post("/api/servers/reload"));

/** Adds a server; a name that is taken and a secret that may not be sent are the person's to change. @param {NewAddress | NewProgram} server */
export async function addServer(server) {
  try {
    return await refreshAfter(post("/api/servers", server));
  } catch (/** @type {any} */ problem) {
    if (problem?.status === 409) throw new FormError(t("servers.name_taken", { name: server.name }));
    throw problem?.code === "forbidden" && JSON.stringify(server).includes("${") ? new FormError(t("servers.reference_refused")) : problem;
  }
}

/** The page knows of the change too: of servers that are missing, and of tools. @template T @param {Promise<T>} request */
async function refreshAfter(request) {
  const answer = await request;
  await refreshServers();
  return answer;
}

/**
 * Returns the server with an address that the fields describe. Throws a `FormError`.
 *
 * @param {Record<string, string>} values
 * @returns {NewAddress}
 */
export function readAddress(values) {
  const url = values.url.trim();
  if (!/^https?:\/\/[^/]/i.test(url)) throw new FormError(t("servers.url_wrong"));
  return { name: readName(values), url, transport: values.sse ? "sse" : "http", headers: readHeaders(values.headers) };
}

/**
 * Returns the program that the fields describe. Throws a `FormError`.
 *
 * @param {Record<string, string>} values
 * @returns {NewProgram}
 */
export function readProgram(values) {
  const command = splitCommand(values.command ?? "");
  if (!command) throw new FormError(t("servers.command_quote"));
  if (!command[0]) throw new FormError(t("servers.command_empty"));
  return { name: readName(values), command, env: readVariables(values.env) };
}

/** The line for a terminal that adds the program. @param {NewProgram} program */
export function terminalLine({ name, command, env }) {
  const variables = Object.entries(env).flatMap(([variable, value]) => ["--env", value === null ? variable : `${variable}=${value}`]);
  return `antiphon mcp add ${joinCommand([name, ...variables])} -- ${joinCommand(command)}`;
}

/** @param {Record<string, string>} values */
function readName({ name = "" }) {
  const given = name.trim();
  if (!NAME.test(given)) throw new FormError(t("servers.name_wrong"));
  return given;
}

/** Returns headers of lines `Name: value`. @param {string} [text] */
function readHeaders(text) {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [, name, value] = /^([^\s:]+)\s*:\s*(.*)$/.exec(line) ?? [];
      if (!name) throw new FormError(t("servers.header_wrong", { line }));
      return [name, value];
    }),
  );
}

/** Returns variables of lines `NAME=value`, or `NAME` for the value here. @param {string} [text] */
function readVariables(text) {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const at = line.indexOf("=");
      const name = at < 0 ? line : line.slice(0, at);
      if (!VARIABLE.test(name)) throw new FormError(t("servers.variable_wrong", { line }));
      return [name, at < 0 ? null : line.slice(at + 1)];
    }),
  );
}

const linesOf = (/** @type {string | undefined} */ text) => (text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
