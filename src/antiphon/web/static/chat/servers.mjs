/** MCP servers of the installation that are starting or missing. */
import { get } from "./api.mjs";
import { me } from "./store.mjs";
import { t } from "./t.mjs";
import { toast } from "./ui/toasts.mjs";
import { computed } from "./vendor/ui.mjs";

/** Milliseconds after which an unanswered message may be waiting for servers. */
const LATE_MS = 700;

/** @typedef {{name: string, status: string, problem: string, stderr: string}} Server */

const BROKEN = new Set(["failed", "restarting"]);

/** The servers that do not work. */
export const brokenServers = computed(() => /** @type {Server[]} */ (me.value?.servers ?? []).filter(({ status }) => BROKEN.has(status)));

/** Names of the servers that are starting, as far as the page knows. */
export const starting = computed(() => serverNames((status) => status === "starting"));

/**
 * Shows which servers a request waits for, and then which are missing.
 *
 * @template T
 * @param {() => Promise<T>} send
 */
export async function showServersWhile(send) {
  let waited = starting.value.length > 0;
  const late = setTimeout(async () => {
    await refreshServers();
    waited ||= starting.value.length > 0;
  }, LATE_MS);
  try {
    return await send();
  } finally {
    clearTimeout(late);
    if (waited) void showMissingServers();
  }
}

async function showMissingServers() {
  await refreshServers();
  const servers = serverNames((status) => !["ready", "disabled"].includes(status)).join(", ");
  if (servers) toast({ text: t("message.servers_missing", { servers }) });
}

/** Reloads servers and tools; keeps the old state on failure. */
export async function refreshServers() {
  const found = await get("/api/me").catch((/** @type {any} */ error) => {
    if (error.name !== "Problem") throw error;
  });
  if (found && me.value) me.value = { ...me.value, servers: found.servers, tools: found.tools };
}

/** @param {(status: string) => boolean} is */
function serverNames(is) {
  return (me.value?.servers ?? []).filter((/** @type {Server} */ { status }) => is(status)).map((/** @type {Server} */ { name }) => name);
}
