/** Administration page: a list of its sections, and one of them. */
import { me } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
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
import { NotFound } from "./failures.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";

/** The sections under the headings of their list. */
const GROUPS = {
  access: { people: People, projects: Projects, owners: Owners, keys: Keys, provider_keys: ProviderKeys },
  activity: { runs: LiveRuns, schedules: Schedules, webhooks: Webhooks, usage: UsageCharts, acts: Acts },
  offer: { models: ModelList, assistants: SharedAssistants, servers: ServerList },
};

/** @type {Record<string, any>} */
const SECTIONS = Object.assign({}, ...Object.values(GROUPS));

/** @param {{path: string}} props `/admin` or `/admin/{section}` */
export function Admin({ path }) {
  const name = path.split("/")[2] || "people";
  const Section = Object.hasOwn(SECTIONS, name) ? SECTIONS[name] : null;
  if (!Section || (me.value && me.value.person?.role !== "admin")) return html`<${NotFound} />`;
  return html`
    <div class="topbar"><${MenuButton} /><h1>${t("admin.title")}</h1><${NewThreadButton} /></div>
    <div class="admin">
      <${SectionList} here=${name} />
      <div class="page broad" tabindex="0" role="region" aria-label=${t(`admin.${name}`)}><${Section} key=${name} /></div>
    </div>
  `;
}

/**
 * The sections beside the present one; where there is no room, a menu that its button opens.
 *
 * @param {{here: string}} props
 */
function SectionList({ here }) {
  const [open, setOpen] = useState(false);
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }, [here, open]);
  const close = () => {
    if (!open) return;
    setOpen(false);
    button.current?.focus();
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    close();
  };
  const left = (/** @type {FocusEvent} */ event) => {
    const to = /** @type {Node | null} */ (event.relatedTarget);
    if (to && !(/** @type {HTMLElement} */ (event.currentTarget).contains(to))) setOpen(false);
  };
  return html`<nav class="sections" aria-label=${t("admin.sections")} onKeyDown=${keyed} onFocusOut=${left}>
    <button
      type="button" class="sections-button" ref=${button} aria-expanded=${open} aria-controls="sections"
      onClick=${() => setOpen(!open)}
    ><span class="grow">${t(`admin.${here}`)}</span><${Icon} name="down" size=${18} /></button>
    <div id="sections" class=${open ? "sections-list open" : "sections-list"} ref=${list}>
      ${Object.entries(GROUPS).map(
        ([group, sections]) => html`<section key=${group} aria-labelledby=${`sections-${group}`}>
          <h2 id=${`sections-${group}`}>${t(`admin.group_${group}`)}</h2>
          <ul class="sections-group">
            ${Object.keys(sections).map(
              (section) => html`<li key=${section}><${Link}
                href=${`/admin/${section}`} aria-current=${section === here ? "page" : undefined} onFollow=${close}
              >${t(`admin.${section}`)}<//></li>`,
            )}
          </ul>
        </section>`,
      )}
    </div>
  </nav>`;
}
