/** Administration page, with one tab for each section. */
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useRef } from "../vendor/ui.mjs";
import { Acts } from "./admin_acts.mjs";
import { Keys } from "./admin_keys.mjs";
import { ModelList, ServerList, SharedAssistants } from "./admin_lists.mjs";
import { Owners } from "./admin_owners.mjs";
import { People } from "./admin_people.mjs";
import { Projects } from "./admin_projects.mjs";
import { ProviderKeys } from "./admin_provider_keys.mjs";
import { LiveRuns } from "./admin_runs.mjs";
import { Schedules } from "./admin_schedules.mjs";
import { UsageCharts } from "./admin_usage.mjs";
import { Webhooks } from "./admin_webhooks.mjs";
import { Link } from "./link.mjs";
import { NotFound } from "./failures.mjs";
import { MenuButton } from "./sidebar.mjs";

const SECTIONS = {
  people: People,
  projects: Projects,
  usage: UsageCharts,
  runs: LiveRuns,
  keys: Keys,
  provider_keys: ProviderKeys,
  schedules: Schedules,
  webhooks: Webhooks,
  owners: Owners,
  models: ModelList,
  assistants: SharedAssistants,
  servers: ServerList,
  acts: Acts,
};

/** @param {{path: string}} props `/admin` or `/admin/{section}` */
export function Admin({ path }) {
  const name = path.split("/")[2] || "people";
  const Section = Object.hasOwn(SECTIONS, name) ? SECTIONS[/** @type {keyof typeof SECTIONS} */ (name)] : null;
  const sections = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    sections.current?.querySelector("[aria-current]")?.scrollIntoView({ inline: "nearest", block: "nearest" });
  }, [name]);
  if (!Section || (me.value && me.value.person?.role !== "admin")) return html`<${NotFound} />`;
  return html`
    <div class="topbar"><${MenuButton} /><h1>${t("admin.title")}</h1></div>
    <nav class="sections" ref=${sections} aria-label=${t("admin.sections")}>
      ${Object.keys(SECTIONS).map(
        (section) => html`<${Link}
          key=${section} href=${`/admin/${section}`} aria-current=${section === name ? "page" : undefined}
        >${t(`admin.${section}`)}<//>`,
      )}
    </nav>
    <div class="page broad" tabindex="0" role="region" aria-label=${t(`admin.${name}`)}><${Section} key=${name} /></div>
  `;
}
