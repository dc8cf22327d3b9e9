/**
 * Display order of a message's parts: consecutive calls form one group, across turns.
 *
 * @typedef {{type: string, [key: string]: any}} Part
 * @typedef {{kind: "tool" | "reasoning", part: Part, name: string}} Item
 * @typedef {{kind: "text" | "reasoning" | "file", part: Part, name: string}} Single
 * @typedef {{kind: "tools", items: Item[], approvals: Record<string, any>, files: Record<string, Part[]>, name: string}} Group
 * @typedef {{kind: "approval", data: any, name: string}} Question
 * @typedef {Single | Group | Question} Shown
 */

import { getForCall } from "./calls.mjs";

const NOT_SHOWN = new Set(["step-start", "data-status", "data-turn-restarted"]);

/**
 * Returns what is shown, in order; each item has a name that stays while the message grows.
 *
 * Reasoning between two calls belongs to their group. An open question follows the group; the call
 * itself shows an answered one.
 *
 * @param {readonly Part[]} parts those that stand
 * @returns {Shown[]}
 */
export function arrangeParts(parts) {
  const approvals = approvalsOf(parts);
  const files = filesOf(parts);
  /** @type {Shown[]} */
  const shown = [];
  /** @type {Item[]} */
  let row = [];

  const close = () => {
    const calls = row.findLastIndex((item) => item.kind === "tool") + 1;
    const first = row.findIndex((item) => item.kind === "tool");
    const leading = first < 0 ? row : row.slice(0, first);
    shown.push(...leading.map(reasoningItem));
    if (calls) shown.push(...group(row.slice(first, calls), approvals, files), ...row.slice(calls).map(reasoningItem));
    row = [];
  };

  parts.forEach((part, place) => {
    if (NOT_SHOWN.has(part.type) || part.type === "data-approval" || isBlank(part)) return;
    switch (part.type) {
      case "dynamic-tool":
        row.push({ kind: "tool", part, name: `call:${part.toolCallId}` });
        break;
      case "reasoning":
        row.push({ kind: "reasoning", part, name: `reasoning:${place}` });
        break;
      case "text":
      case "file":
        close();
        shown.push({ kind: part.type, part, name: `${part.type}:${place}` });
    }
  });
  close();
  return shown;
}

/** Returns the last question about each call. @param {readonly Part[]} parts @returns {Record<string, any>} */
const approvalsOf = (parts) =>
  Object.fromEntries(parts.filter((part) => part.type === "data-approval").map((part) => [part.data.toolCallId, part.data]));

/** Returns the files of each call. @param {readonly Part[]} parts @returns {Record<string, Part[]>} */
const filesOf = (parts) =>
  Object.fromEntries(parts.filter((part) => part.type === "data-files").map((part) => [part.data.toolCallId, part.data.files]));

/** @param {Item[]} items @param {Record<string, any>} approvals @param {Record<string, Part[]>} files @returns {Shown[]} */
function group(items, approvals, files) {
  const calls = items.filter((item) => item.kind === "tool").map((item) => item.part.toolCallId);
  const questions = calls
    .map((call) => getForCall(approvals, call))
    .filter((data) => data?.state === "requested")
    .map((data) => ({ kind: /** @type {const} */ ("approval"), data, name: `approval:${data.toolCallId}` }));
  const asked = Object.fromEntries(calls.filter((call) => getForCall(approvals, call)).map((call) => [call, approvals[call]]));
  return [{ kind: "tools", items, approvals: asked, files, name: `tools:${calls[0]}` }, ...questions];
}

/** @param {Item} item @returns {Single} */
const reasoningItem = ({ part, name }) => ({ kind: "reasoning", part, name });

/** @param {Part} part */
const isBlank = (part) => (part.type === "text" || part.type === "reasoning") && !/\S/.test(part.text);
