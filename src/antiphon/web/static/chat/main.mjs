/**
 * The page begins here.
 *
 * @module
 */

import { keepLooking, openPath, start } from "./actions.mjs";
import { listen } from "./router.mjs";
import { current, keepPrefs, me, path, phase, prefs } from "./store.mjs";
import { loadLanguage, t } from "./t.mjs";
import { applyTheme } from "./theme.mjs";
import { App } from "./ui/app.mjs";
import { effect, html, render, untracked } from "./vendor/ui.mjs";

/** The document is called as what it shows. */
function titled() {
  const site = me.value?.title || "Antiphon";
  const thread = path.value.startsWith("/t/") ? current.value?.thread.title : null;
  const sign = phase.value === "idle" ? "" : "… ";
  document.title = sign + (thread ? `${thread} – ${site}` : site);
}

/** Says in the page that it could not begin, with the way to try again. @param {any} error */
async function begin(error) {
  try {
    await start();
  } catch (/** @type {any} */ problem) {
    if (problem.name !== "Problem") throw problem;
    if (problem.status !== 401) retryLater(problem);
  }
}

/** Until the server can be reached. @param {any} problem */
function retryLater({ retryAfter = 2 }) {
  setTimeout(begin, retryAfter * 1000);
}

listen();
applyTheme(prefs.value.theme);
await loadLanguage(prefs.value.language);
keepPrefs();
render(html`<${App} onSignedIn=${begin} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
effect(titled);
await begin();
keepLooking();
effect(() => {
  const address = path.value;
  untracked(() => me.value && void openPath(address));
});
