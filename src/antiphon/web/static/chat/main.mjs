/**
 * The page begins here.
 *
 * @module
 */

import { watchForNews, openPath, start } from "./actions.mjs";
import { followHistory } from "./router.mjs";
import { currentTitle } from "./sending.mjs";
import { keepPrefs, me, path, phase, prefs, problem } from "./store.mjs";
import { loadLanguage, t } from "./t.mjs";
import { applyTheme } from "./theme.mjs";
import { App } from "./ui/app.mjs";
import { effect, html, render, untracked } from "./vendor/ui.mjs";

/** The document is called as what it shows. */
function updateTitle() {
  const site = me.value?.title || "Antiphon";
  const thread = path.value.startsWith("/t/") ? currentTitle() : null;
  const sign = phase.value === "idle" ? "" : "… ";
  document.title = sign + (thread ? `${thread} – ${site}` : site);
}

/** Begins, and where the server cannot be reached says so and tries until it can. */
async function begin() {
  try {
    await start();
  } catch (/** @type {any} */ error) {
    if (error.name !== "Problem") throw error;
    if (error.status === 401) return;
    problem.value = error;
    setTimeout(begin, (error.retryAfter ?? 2) * 1000);
  }
}

followHistory();
applyTheme(prefs.value.theme);
await loadLanguage(prefs.value.language);
keepPrefs();
render(html`<${App} onSignedIn=${begin} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
effect(updateTitle);
await begin();
watchForNews();
effect(() => {
  const address = path.value;
  untracked(() => me.value && void openPath(address));
});
