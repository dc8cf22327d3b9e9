/**
 * States of tool calls.
 *
 * @typedef {import("./message_parts.mjs").Part} Part
 * @typedef {"writing" | "asking" | "waiting" | "running" | "done" | "failed" | "refused" | "stopped" | "left"} CallState
 * @typedef {{state: "waiting" | "running" | "ended", elapsed: number, servers?: string[], progress?: {done: number, total: number | null, message: string}}} Status
 * @typedef {{name: string, server?: string | null, description?: string}} KnownTool
 */

/**
 * Returns the entry of a call. Models choose the ids of calls: `constructor` is a valid one.
 *
 * @template T
 * @param {Readonly<Record<string, T>> | undefined} byCall
 * @param {string} call
 * @returns {T | undefined}
 */
export const getForCall = (byCall, call) => (byCall && Object.hasOwn(byCall, call) ? byCall[call] : undefined);

/**
 * Returns the state of a call. `live` if its run goes on; else a call without an output was abandoned.
 *
 * @param {Part} part
 * @param {{status?: Status, approval?: {state: string}, live?: boolean}} known
 * @returns {CallState}
 */
export function stateOf(part, { status, approval, live } = {}) {
  if (approval?.state === "refused" && part.state !== "output-available") return "refused";
  if (approval?.state === "cancelled" && part.state !== "output-available") return "stopped";
  if (part.state === "output-error") return "failed";
  if (part.state === "output-available" && !part.preliminary) return "done";
  if (approval?.state === "requested") return "asking";
  if (!live) return "left";
  if (part.state === "input-streaming") return "writing";
  return status?.state === "waiting" ? "waiting" : "running";
}

/** Returns true if a call in this state is not over. @param {CallState} state */
export const isOpen = (state) => ["writing", "asking", "waiting", "running"].includes(state);

/** Counts calls by state. @param {readonly CallState[]} states @returns {Partial<Record<CallState, number>>} */
export function tally(states) {
  /** @type {Partial<Record<CallState, number>>} */
  const numbers = {};
  for (const state of states) numbers[state] = (numbers[state] ?? 0) + 1;
  return numbers;
}

/** Counts calls by tool, the most called first. @param {readonly Part[]} parts @returns {[string, number][]} */
export function countTools(parts) {
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const { toolName } of parts) times.set(toolName, (times.get(toolName) ?? 0) + 1);
  return [...times].sort(([, one], [, other]) => other - one);
}

/**
 * Splits a name into the tool's own and its server's; unknown tools are split as `server__tool`.
 *
 * @param {string} name
 * @param {readonly KnownTool[]} known
 * @returns {{own: string, server: string}}
 */
export function splitToolName(name, known) {
  const tool = known.find((each) => each.name === name);
  if (tool && !tool.server) return { own: name, server: "" };
  const border = tool?.server && name.startsWith(`${tool.server}__`) ? tool.server.length : name.indexOf("__");
  if (border <= 0 || border + 2 >= name.length) return { own: name, server: tool?.server ?? "" };
  return { own: name.slice(border + 2), server: tool?.server ?? name.slice(0, border) };
}

/** Returns a call's arguments as text, if possible as the model wrote them. @param {Part} part */
export const argumentsOf = (part) =>
  typeof part.inputText === "string" ? part.inputText : toText(part.input ?? {});

/** Returns a call's output as text. @param {Part} part */
export const outputOf = (part) => (part.state === "output-error" ? String(part.errorText ?? "") : toText(part.output ?? ""));

/** @param {unknown} value */
const toText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
