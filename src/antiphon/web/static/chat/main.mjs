/**
 * Entry point of the page.
 *
 * @module
 */

import { watchForNews, openPath, start } from "./conversation_actions.mjs";
import { followHistory, threadOf } from "./router.mjs";
import { currentTitle } from "./send.mjs";
import { BESIDE, keepPrefs, me, path, phase, prefs, problem } from "./store.mjs";
import { loadLanguage, t } from "./t.mjs";
import { deleteOnClose } from "./temporary.mjs";
import { applyTheme } from "./theme.mjs";
import { App } from "./ui/app.mjs";
import { loadWhenIdle } from "./ui/later_view.mjs";
import { loadMessageViews } from "./ui/messages.mjs";
import { effect, html, render, untracked } from "./vendor/ui.mjs";

/** Sets the document's title. */
function updateTitle() {
  const site = me.value?.title || "Antiphon";
  const thread = threadOf(path.value) ? currentTitle() : null;
  const sign = phase.value === "idle" && BESIDE.phase.value === "idle" ? "" : "… ";
  document.title = sign + (thread ? `${thread} – ${site}` : site);
}

/** Starts the page; if the server is unreachable, shows it and retries. */
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

/** Shows the page. */
async function main() {
  followHistory();
  deleteOnClose();
  applyTheme(prefs.value.theme);
  void loadMessageViews();
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
  void loadWhenIdle();
  // What cannot be loaded now is missing until the page is loaded again; the rest goes on.
  await Promise.allSettled([
    import("./notifications.mjs").then(({ watchForNotifications }) => watchForNotifications(currentTitle)),
    import("./speech.mjs").then(({ readNewAnswers }) => readNewAnswers()),
    import("./offline.mjs").then(({ keepPage }) =>
      effect(() => {
        if (me.value) untracked(() => void keepPage());
      }),
    ),
  ]);
}

// Not awaited: modules that are loaded later wait until this one has run.
void main();
