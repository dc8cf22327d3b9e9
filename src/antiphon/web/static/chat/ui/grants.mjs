/** Tools that are always allowed, each with a button to revoke it. */
import { get, post } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { runAndReport } from "./toasts.mjs";
import { Word } from "./word.mjs";

/** @typedef {{server: string, tool: string, description: string, asked_by: string[]}} Grant */

export function Grants() {
  const [grants, setGrants] = useState(/** @type {Grant[] | null} */ (null));
  const load = () => runAndReport(async () => setGrants((await get("/api/grants")).data));
  useEffect(() => void load(), []);
  if (!grants?.length) return null;
  const revoke = async (/** @type {Grant} */ { server, tool }) => {
    await runAndReport(() => post("/api/grants/revoke", { server, tool }));
    await load();
  };
  return html`<section class="stack" aria-labelledby="grants">
    <div>
      <h3 id="grants">${t("settings.grants")}</h3>
      <p class="muted small">${t("settings.grants_hint")}</p>
    </div>
    <ul class="grants">
      ${grants.map(
        (grant) => html`<li class="row" key=${`${grant.server} ${grant.tool}`}>
          <span class="grow" title=${grant.description}><${Word} text=${grant.tool} judged />${grant.server && html` <span class="muted"><${Word} text=${grant.server} judged /></span>`}${grant.asked_by.length > 0 && html` <span class="muted small">${t("settings.grants_for")} <${Word} text=${grant.asked_by.join(", ")} judged most=${300} /></span>`}</span>
          <button
            type="button" class="button quiet small" onClick=${() => revoke(grant)}
            aria-label=${t("settings.grants_revoke_of", { tool: grant.tool })}
          >${t("settings.grants_revoke")}</button>
        </li>`,
      )}
    </ul>
  </section>`;
}
