/**
 * Notices on how an answer ended: shown below it, and announced.
 *
 * @typedef {object} Outcome
 * @property {string} key  the sentence, as `t` knows it
 * @property {{code: string, message: string} | null} problem  of a run that failed: what the server said
 * @property {"continue" | "retry" | null} next  what can be done now
 */
import { hasMessage } from "./t.mjs";

/**
 * Returns the outcome of a run, null if it needs no notice.
 *
 * @param {Record<string, any>} metadata  of the message
 * @param {boolean} isEmpty  true if the message shows nothing
 * @returns {Outcome | null}
 */
export function outcomeOf({ status, reason, error, errorText }, isEmpty) {
  switch (status) {
    case "cancelled":
      return { key: "message.stopped", problem: null, next: isEmpty ? null : "continue" };
    case "failed":
      return { key: "message.failed", problem: problemOf(error, errorText), next: isEmpty ? "retry" : "continue" };
    case "incomplete":
      return {
        key: hasMessage(`message.incomplete_${reason}`) ? `message.incomplete_${reason}` : "message.cut",
        problem: null,
        next: isEmpty || reason === "content_filter" ? "retry" : "continue",
      };
    case "expired":
      return { key: "message.expired", problem: null, next: null };
    case "completed":
      return isEmpty ? { key: "message.empty", problem: null, next: "retry" } : null;
    default:
      return errorText ? { key: "message.failed", problem: problemOf(error, errorText), next: null } : null;
  }
}

/**
 * Returns the name of the sentence on what to do about a failed run, beside the button; null if the
 * problem says it.
 *
 * @param {Outcome} outcome
 */
export function hintOf({ problem }) {
  if (problem && OTHER_MODEL.has(problem.code)) return "hint.other_model";
  return problem && SAME_AGAIN.has(problem.code) ? "hint.again" : null;
}

/** Codes of problems that depend on the model. */
const OTHER_MODEL = new Set(["provider_rejected", "unsupported_by_provider"]);

/** Codes of problems that may be gone the next time. */
const SAME_AGAIN = new Set(["provider_error", "provider_protocol", "disconnected", "stalled", "internal"]);

/** @param {{code?: string, message?: string} | undefined} error @param {string | undefined} errorText */
function problemOf(error, errorText) {
  const message = error?.message ?? errorText;
  return message ? { code: error?.code ?? "", message } : null;
}
