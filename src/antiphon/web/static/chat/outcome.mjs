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
      return { key: "message.stopped", problem: null, next: null };
    case "failed":
      return { key: "message.failed", problem: problemOf(error, errorText), next: "retry" };
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

/** @param {{code?: string, message?: string} | undefined} error @param {string | undefined} errorText */
function problemOf(error, errorText) {
  const message = error?.message ?? errorText;
  return message ? { code: error?.code ?? "", message } : null;
}
