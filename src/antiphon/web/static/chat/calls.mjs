/**
 * How tool calls stand, one and many.
 *
 * @typedef {import("./arrange.mjs").Part} Part
 * @typedef {"writing" | "asking" | "waiting" | "running" | "done" | "failed" | "refused" | "stopped" | "left"} CallState
 * @typedef {{state: "waiting" | "running" | "ended", elapsed: number, servers?: string[], progress?: {done: number, total: number | null, message: string}}} Status
 * @typedef {{name: string, server?: string | null, description?: string}} KnownTool
 */

/**
 * What is known of a call. Models name their calls as they like: `constructor` is a name as any other.
 *
 * @template T
 * @param {Readonly<Record<string, T>> | undefined} byCall
 * @param {string} call
 * @returns {T | undefined}
 */
export const getForCall = (byCall, call) => (byCall && Object.hasOwn(byCall, call) ? byCall[call] : undefined);

/**
 * How a call stands. `live`: its run goes on; where it does not, a call without an output was left.
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

/** Whether something is still to come of a call that stands so. @param {CallState} state */
export const isOpen = (state) => ["writing", "asking", "waiting", "running"].includes(state);

/** How many calls stand how. @param {readonly CallState[]} states @returns {Partial<Record<CallState, number>>} */
export function tally(states) {
  /** @type {Partial<Record<CallState, number>>} */
  const numbers = {};
  for (const state of states) numbers[state] = (numbers[state] ?? 0) + 1;
  return numbers;
}

/** The tools that were called and how often, the most called first. @param {readonly Part[]} parts @returns {[string, number][]} */
export function countTools(parts) {
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const { toolName } of parts) times.set(toolName, (times.get(toolName) ?? 0) + 1);
  return [...times].sort(([, one], [, other]) => other - one);
}

/**
 * A tool's own name and its server's: what is not known is told by its name, `server__tool`.
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

/** A call's arguments as text: as the model wrote them where that is still known. @param {Part} part */
export const argumentsOf = (part) =>
  typeof part.inputText === "string" ? part.inputText : toText(part.input ?? {});

/** What a call gave, as text. @param {Part} part */
export const outputOf = (part) => (part.state === "output-error" ? String(part.errorText ?? "") : toText(part.output ?? ""));

/** @param {unknown} value */
const toText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
