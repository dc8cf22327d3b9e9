/** For those who run the installation: who uses it, with what, and for how much. */
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Keys } from "./admin_keys.mjs";
import { ModelList, ServerList, SharedAssistants } from "./admin_lists.mjs";
import { People } from "./admin_people.mjs";
import { LiveRuns } from "./admin_runs.mjs";
import { UsageCharts } from "./admin_usage.mjs";
import { Link } from "./link.mjs";
import { NotFound } from "./lost.mjs";
import { MenuButton } from "./sidebar.mjs";

const SECTIONS = {
  people: People,
  usage: UsageCharts,
  runs: LiveRuns,
  keys: Keys,
  models: ModelList,
  assistants: SharedAssistants,
  servers: ServerList,
};

/** @param {{path: string}} props `/admin` or `/admin/{section}` */
export function Admin({ path }) {
  const name = path.split("/")[2] || "people";
  const Section = Object.hasOwn(SECTIONS, name) ? SECTIONS[/** @type {keyof typeof SECTIONS} */ (name)] : null;
  if (!Section || (me.value && me.value.person?.role !== "admin")) return html`<${NotFound} />`;
  return html`
    <div class="topbar"><${MenuButton} /><h1>${t("admin.title")}</h1></div>
    <nav class="sections" aria-label=${t("admin.sections")}>
      ${Object.keys(SECTIONS).map(
        (section) => html`<${Link}
          key=${section} href=${`/admin/${section}`} aria-current=${section === name ? "page" : undefined}
        >${t(`admin.${section}`)}<//>`,
      )}
    </nav>
    <div class="page broad" tabindex="0" role="region" aria-label=${t(`admin.${name}`)}><${Section} key=${name} /></div>
  `;
}
