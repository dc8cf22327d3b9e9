/**
 * Errors in the user's language.
 *
 * The server's messages are English. In other languages the page shows its own sentence for the code,
 * followed by the server's message if that says more.
 */
import { hasMessage, language, t } from "./t.mjs";

/** Codes whose sentence needs the server's message too. */
const NEEDS_DETAIL = new Set(
  `bad_settings conflict internal invalid_request provider_error provider_protocol provider_rejected
   sign_in_refused too_large unsupported_by_provider`.split(/\s+/),
);

/** Returns the text of a problem. @param {string} code @param {string} message the server's words */
export function problemWords(code, message) {
  const own = t(`problem.${code}`);
  if (code === "offline") return own;
  if (language.value === "en" || !hasMessage(`problem.${code}`)) return message;
  return NEEDS_DETAIL.has(code) ? `${own} (${message})` : own;
}

/** Returns the text of an outcome from `outcomeOf`. @param {import("./outcome.mjs").Outcome} outcome */
export function outcomeWords({ key, problem }) {
  return problem ? problemWords(problem.code, problem.message) : t(key);
}
