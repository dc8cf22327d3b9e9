/**
 * Refusals and failures in the reader's language.
 *
 * The server speaks English. Each of its codes has a sentence of the page, which stands in its place
 * in other languages; the server's own words follow where they say more than the code does.
 */
import { language, t } from "./t.mjs";

/** Codes whose sentence leaves open what was wrong. */
const NEEDS_DETAIL = new Set(
  `bad_settings conflict internal invalid_request provider_error provider_protocol provider_rejected
   sign_in_refused too_large unsupported_by_provider`.split(/\s+/),
);

/** What to tell a person of a problem. @param {string} code @param {string} message the server's words */
export function problemWords(code, message) {
  const own = t(`problem.${code}`);
  const isKnown = own !== `problem.${code}`;
  if (code === "offline") return own;
  if (language.value === "en" || !isKnown) return message;
  return NEEDS_DETAIL.has(code) ? `${own} (${message})` : own;
}

/** The words for an outcome that `outcomeOf` gives. @param {import("./outcome.mjs").Outcome} outcome */
export function outcomeWords({ key, problem }) {
  return problem ? problemWords(problem.code, problem.message) : t(key);
}
