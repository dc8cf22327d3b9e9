/**
 * Folds a run's stream into its message: events to parts, parts to a message.
 *
 * All functions are pure. The same parts make the same message, whether they come live, in a replay, or
 * after a cursor.
 *
 * @module
 */

import { isAfter } from "./sse.mjs";

/**
 * @typedef {{type: string, [key: string]: any}} Part
 * @typedef {{id: string, role: string, parts: Part[], metadata: Record<string, any>}} Message
 * @typedef {import("./sse.mjs").ServerEvent} ServerEvent
 *
 * @typedef {object} Live
 * @property {Message | null} message  what was said so far, null before the first part
 * @property {Readonly<Record<string, number>>} speaking  places of the parts that go on, by id
 * @property {Readonly<Record<string, ToolStatus>>} tools  what tools do now, by call
 * @property {string | null} cursor  id of the last event that is in here
 * @property {"finish" | "abort" | "error" | null} ended  how the stream said that it is at its end
 *
 * @typedef {object} ToolStatus
 * @property {"waiting" | "running" | "ended"} state
 * @property {number} elapsed  seconds, as the server said
 * @property {{done: number, total: number | null, message: string}} [progress]
 */

/** @type {Live} */
export const NOTHING = Object.freeze({
  message: null,
  speaking: {},
  tools: {},
  cursor: null,
  ended: null,
});

const DONE = "[DONE]";
const UNFINISHED = new Set(["queued", "in_progress", "action_required"]);

/**
 * Applies events. An event that was applied already changes nothing.
 *
 * @param {Live} live
 * @param {readonly ServerEvent[]} events
 * @returns {Live}
 */
export function foldEvents(live, events) {
  return events.reduce((now, { id, data }) => {
    if (data === DONE || (id !== null && !isAfter(id, now.cursor))) return now;
    const part = parsePart(data);
    const folded = part ? fold(withoutWaiting(now, part), part) : now;
    return id === null ? folded : { ...folded, cursor: id };
  }, live);
}

/** Returns the part of an event, null if it holds none. @param {string} data @returns {Part | null} */
function parsePart(data) {
  try {
    const part = JSON.parse(data);
    return typeof part?.type === "string" ? part : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Ends the wait of a run that waited for the user and goes on. @param {Live} live @param {Part} part @returns {Live} */
const withoutWaiting = (live, part) =>
  isWaiting(live) && part.type !== "finish" ? { ...live, ended: null } : live;

/** Returns true if these events end the stream. @param {readonly ServerEvent[]} events */
export const saysDone = (events) => events.some(({ data }) => data === DONE);

/** Returns true if the run waits for the user: its stream has ended, and the run has not. @param {Live} live */
export const isWaiting = (live) =>
  live.ended === "finish" && UNFINISHED.has(live.message?.metadata.status);

/** Returns true if nothing follows. A stream that stops earlier was cut. @param {Live} live */
export const isOver = (live) => live.ended !== null && !isWaiting(live);

/**
 * Applies one part. Unknown types are ignored.
 *
 * @param {Live} live
 * @param {Part} part
 * @returns {Live}
 */
export function fold(live, part) {
  const [kind] = part.type.split("-", 1);
  if (kind === "data") return foldData(live, part);
  if (kind === "tool") return foldCall(live, part);
  switch (part.type) {
    case "start":
      return begin(live, part);
    case "message-metadata":
      return withMetadata(live, part.messageMetadata);
    case "finish":
      return withEnd(withMetadata(live, part.messageMetadata), "finish");
    case "abort":
      return withEnd(live, "abort");
    case "error":
      return withEnd(withMetadata(live, { errorText: part.errorText }), "error");
    case "start-step":
      return addPart(live, { type: "step-start" });
    case "source-url":
      return addPart(live, part);
    case "text-start":
    case "reasoning-start":
      return startText(live, kind, part);
    case "text-delta":
    case "reasoning-delta":
      return changeText(live, part.id, (said) => ({ ...said, text: said.text + part.delta, ...facts(part) }));
    case "text-end":
    case "reasoning-end":
      return endText(changeText(live, part.id, (said) => ({ ...said, state: "done", ...facts(part) })), part.id);
    default:
      return live;
  }
}

/**
 * Returns the valid parts of a message: a step that was restarted is left out.
 *
 * While the message is `live`, such a step stays until its replacement has content, because a stopped
 * server may be away for a while.
 *
 * @param {readonly Part[]} parts
 * @param {{live?: boolean}} [options]
 * @returns {Part[]}
 */
export function currentParts(parts, { live = false } = {}) {
  /** @type {Part[]} */
  const kept = [];
  parts.forEach((part, place) => {
    if (part.type !== "data-turn-restarted") {
      kept.push(part);
    } else if (!live || parts.slice(place + 1).some(({ type }) => !SILENT.has(type))) {
      kept.length = Math.max(kept.findLastIndex(({ type }) => type === "step-start"), 0);
    }
  });
  return kept;
}

/** Parts without content of their own. */
const SILENT = new Set(["step-start", "data-turn-restarted"]);

/** Returns true if a text is the model's refusal. @param {Part} part */
export const isRefusal = (part) => part.providerMetadata?.antiphon?.refusal === true;

/** Returns the seconds that a reasoning took, by the server; 0 if it did not say so. @param {Part} part */
export const secondsOf = (part) => Number(part.providerMetadata?.antiphon?.seconds) || 0;

/** Returns the text of a message. @param {Message} message */
export const textOf = (message) =>
  currentParts(message.parts)
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n\n");

/** @param {Live} live @param {Part} part @returns {Live} */
function begin(live, part) {
  if (live.message?.id === part.messageId) return withMetadata(live, part.messageMetadata);
  const message = {
    id: part.messageId,
    role: "assistant",
    parts: [],
    metadata: part.messageMetadata ?? {},
  };
  return { ...NOTHING, cursor: live.cursor, message };
}

/** @param {Live} live @param {Record<string, any>} news @returns {Live} */
function withMetadata(live, news) {
  if (!live.message) return live;
  return {
    ...live,
    message: { ...live.message, metadata: { ...live.message.metadata, ...news } },
  };
}

/** Marks the end; an error stays the end even if a `finish` follows. @param {Live} live @param {"finish" | "abort" | "error"} how @returns {Live} */
const withEnd = (live, how) => ({
  ...live,
  ended: how === "finish" && (live.ended === "error" || live.ended === "abort") ? live.ended : how,
});

/** @param {Live} live @param {Part} part @returns {Live} */
function addPart(live, part) {
  if (!live.message) return live;
  return { ...live, message: { ...live.message, parts: [...live.message.parts, part] } };
}

/** @param {Live} live @param {number} place @param {(part: Part) => Part} change @returns {Live} */
function changePart(live, place, change) {
  if (!live.message || place < 0) return live;
  const parts = live.message.parts.with(place, change(live.message.parts[place]));
  return { ...live, message: { ...live.message, parts } };
}

/** @param {Live} live @param {string} type @param {Part} part @returns {Live} */
function startText(live, type, part) {
  if (!live.message) return live;
  const place = live.message.parts.length;
  const spoken = addPart(live, { type, text: "", state: "streaming", ...facts(part) });
  return { ...spoken, speaking: { ...live.speaking, [part.id]: place } };
}

/** Returns what the provider adds to a text: a refusal, the time of reasoning. @param {Part} part */
const facts = ({ providerMetadata }) => (providerMetadata ? { providerMetadata } : {});

/** @param {Live} live @param {string} id @param {(part: Part) => Part} change */
const changeText = (live, id, change) =>
  changePart(live, Object.hasOwn(live.speaking, id) ? live.speaking[id] : -1, change);

/** @param {Live} live @param {string} id @returns {Live} */
function endText(live, id) {
  const { [id]: _, ...speaking } = live.speaking;
  return { ...live, speaking };
}

/** @param {Live} live @param {Part} part @returns {Live} */
function foldCall(live, part) {
  if (part.type === "tool-input-start") {
    const { toolName, toolCallId } = part;
    return addPart(live, { type: "dynamic-tool", toolName, toolCallId, state: "input-streaming", inputText: "" });
  }
  const place = callPlace(live, part.toolCallId);
  switch (part.type) {
    case "tool-input-delta":
      return changePart(live, place, (call) => ({ ...call, inputText: call.inputText + part.inputTextDelta }));
    case "tool-input-available":
      // The second time, the user has edited them.
      return changePart(live, place, (call) => ({
        ...withoutKey(call, "inputText"),
        ...(call.state === "input-available" ? { edited: true } : {}),
        state: "input-available",
        input: part.input,
      }));
    case "tool-output-available":
      return part.preliminary ? withProgress(live, part) : changePart(live, place, (call) => output(call, part));
    case "tool-output-error":
      return changePart(live, place, (call) => ({ ...withoutKey(call, "inputText"), state: "output-error", errorText: part.errorText }));
    default:
      return live;
  }
}

/** Returns the index of the newest call of that id: a restarted turn may repeat one. @param {Live} live @param {string} id */
const callPlace = (live, id) =>
  live.message?.parts.findLastIndex((part) => part.toolCallId === id) ?? -1;

/** @param {Part} call @param {Part} part @returns {Part} */
const output = (call, part) => ({ ...withoutKey(call, "inputText"), state: "output-available", output: part.output });

/** Sets the progress of a tool, which is not part of the message. @param {Live} live @param {Part} part @returns {Live} */
function withProgress(live, part) {
  const status = { state: "running", elapsed: 0, ...live.tools[part.toolCallId], progress: part.output.progress };
  return { ...live, tools: { ...live.tools, [part.toolCallId]: status } };
}

/** @param {Part} part @param {string} key @returns {Part} */
function withoutKey(part, key) {
  const { [key]: _, ...rest } = part;
  return /** @type {Part} */ (rest);
}

/** @param {Live} live @param {Part} part @returns {Live} */
function foldData(live, part) {
  if (part.type === "data-tool-status") return withToolStatus(live, part.data);
  if (part.transient) return live;
  const place = live.message?.parts.findIndex((each) => part.id && each.type === part.type && each.id === part.id) ?? -1;
  return place < 0 ? addPart(live, part) : changePart(live, place, (each) => ({ ...each, data: part.data }));
}

/** @param {Live} live @param {{toolCallId: string, state: ToolStatus["state"], elapsed: number, servers?: string[]}} data @returns {Live} */
function withToolStatus(live, { toolCallId, state, elapsed, servers = [] }) {
  const status = { ...live.tools[toolCallId], state, elapsed, servers };
  return { ...live, tools: { ...live.tools, [toolCallId]: status } };
}
