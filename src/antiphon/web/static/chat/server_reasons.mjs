/**
 * Reasons for which an MCP server does not work, in the language of the page.
 *
 * The server's reasons are English. Each known one is found by its sentence, of which the braces are values. In other
 * languages the rest is shown as it comes, in a frame that says that it is the message of the server. Tests compare
 * the sentences with those of the English table and of the server.
 *
 * @module
 */
import { language, t } from "./t.mjs";

/** @type {Record<string, string>} */
export const REASONS = {
  ended: "it was ended by {signal}",
  exited: "it exited with code {code}",
  stdout: "it closed its stdout",
  program: "there is no program {program} on the PATH; install it, or give its whole path",
  forbidden: "{program} may not be run",
  start: "{program} cannot be started: {detail}",
  folder: "its folder {folder} is not there",
  timeout: "it did not answer within {seconds} s",
  connect_timeout: "it did not accept a connection in time",
  unreachable: "it cannot be reached: {detail}",
  connection: "the connection failed: {detail}",
  closed: "the connection was closed",
  refused: "it refused the connection: {detail}",
  session: "the server has forgotten the session",
  login: "it needs a login: {command}",
  variable: "the variable {name} is not set",
  extra: "MCP needs an extra that is not installed. {detail}",
  http: "HTTP {status}",
};

/** @type {[RegExp, string, string[]][]} */
const PATTERNS = Object.entries(REASONS).map(([key, sentence]) => {
  const names = [...sentence.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const parts = sentence.split(/\{\w+\}/).map((part) => part.replace(/[.*+?^$()|[\]\\]/g, "\\$&"));
  return [new RegExp(`^${parts.join("([^]+?)")}$`), key, names];
});

/** Returns why a server does not work. @param {string} reason the server's words */
export function reasonInWords(reason) {
  if (language.value === "en" || !reason) return reason;
  for (const [pattern, key, names] of PATTERNS) {
    const found = pattern.exec(reason);
    if (found) return t(`servers.reason_${key}`, Object.fromEntries(names.map((name, place) => [name, found[place + 1]])));
  }
  return t("servers.reason_other", { reason });
}
