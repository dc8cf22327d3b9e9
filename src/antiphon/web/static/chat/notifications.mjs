/**
 * Notifications of the browser while nobody looks at the page: an answer is complete, or a question waits.
 *
 * They name the chat and hold nothing of what was said: others may see them.
 *
 * @module
 */

import { modelAt } from "./comparison.mjs";
import { revealText } from "./hidden_characters.mjs";
import { navigate } from "./router.mjs";
import { BESIDE, MAIN, me, path, prefs } from "./store.mjs";
import { t } from "./t.mjs";
import { effect, untracked } from "./vendor/ui.mjs";

const MOST_TITLE = 80;

/**
 * @typedef {import("./store.mjs").Phase} Phase
 * @typedef {{thread: string | null, phase: Phase}} Seen
 */

/** True if this browser has notifications; some have none, or none on a page without https. */
export const hasNotifications = () => "Notification" in globalThis;

/** Returns true if notifications are wanted and allowed. */
export const notificationsOn = () => Boolean(prefs.value.notifications) && hasNotifications() && Notification.permission === "granted";

/** Asks the browser to allow notifications. Returns true if it does. */
export const allowNotifications = async () => hasNotifications() && (await Notification.requestPermission()) === "granted";

/**
 * Returns what happened between two moments of a chat that is worth a notification, or null.
 *
 * @param {Seen} before @param {Seen} now
 * @returns {"answer" | "question" | null}
 */
export function notificationBetween(before, now) {
  // A new chat gets its id while it is answered.
  const same = before.thread === now.thread || before.thread === null;
  if (!same || now.thread === null || before.phase === now.phase) return null;
  if (now.phase === "asking") return "question";
  return now.phase === "idle" && before.phase !== "stopping" ? "answer" : null;
}

/**
 * Shows notifications from now on, if they are wanted and allowed: of both conversations in a comparison,
 * each with the name of its model.
 *
 * @param {() => string} titleOf returns the title of the open chat
 * @returns {() => void} stops it
 */
export function watchForNotifications(titleOf) {
  const stops = [MAIN, BESIDE].map((at) => watchPane(at, titleOf));
  return () => stops.forEach((stop) => stop());
}

/** @param {import("./store.mjs").Pane} at @param {() => string} titleOf */
function watchPane(at, titleOf) {
  /** @type {Seen} */
  let before = { thread: null, phase: "idle" };
  return effect(() => {
    const { current, opening, phase } = at;
    const now = { thread: opening.value ?? current.value?.thread.id ?? null, phase: phase.value };
    const what = notificationBetween(before, now);
    before = now;
    if (what) untracked(() => showNotification(what, /** @type {string} */ (now.thread), titleOf(), BESIDE.current.value ? modelAt(at) : ""));
  });
}

/** @param {"answer" | "question"} what @param {string} thread @param {string} named @param {string} model  "" if there is one conversation */
function showNotification(what, thread, named, model) {
  if (!document.hidden || !notificationsOn()) return;
  const address = path.value; // of both, in a comparison
  const title = revealText(named || t("threads.untitled")).slice(0, MOST_TITLE);
  const text = `${t(`notifications.${what}`)} ${title}`;
  const body = model ? t("announce.of_model", { model: revealText(model).slice(0, MOST_TITLE), text }) : text;
  try {
    const shown = new Notification(me.value?.title || "Antiphon", { body, tag: `antiphon ${thread}` });
    shown.addEventListener("click", () => {
      window.focus();
      navigate(model ? address : `/t/${thread}`);
      shown.close();
    });
  } catch (error) {
    // Chromium on phones takes notifications from service workers only.
    if (!(error instanceof TypeError)) throw error;
  }
}
