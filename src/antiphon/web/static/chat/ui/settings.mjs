/** Settings dialog: appearance, language and the user's login. */
import { post } from "../api.mjs";
import { forgetDrafts } from "../drafts.mjs";
import { allowNotifications, hasNotifications, notificationsOn } from "../notifications.mjs";
import { forgetPage } from "../offline.mjs";
import { personId } from "../send.mjs";
import { writeStored } from "../storage.mjs";
import { me, PERSON, prefs } from "../store.mjs";
import { LANGUAGES, LANGUAGE_NAMES, loadLanguage, t } from "../t.mjs";
import { THEMES, applyTheme } from "../theme.mjs";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/ui.mjs";
import { ChatImports } from "./chat_imports.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Grants } from "./grants.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { PromptSettings } from "./prompts.mjs";
import { toast, runAndReport } from "./toasts.mjs";
import { VoiceSettings } from "./voice_settings.mjs";

/** @param {{onClose: () => void}} props */
export function Settings({ onClose }) {
  const known = me.value;
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  return html`<${Dialog} title=${t("settings.title")} className="settings-dialog" onClose=${onClose}>
    <${Sections} of=${body} />
    <div class="settings" ref=${body}>
      <section class="settings-general" aria-labelledby="general">
        <h3 id="general">${t("settings.general")}</h3>
        <${Appearance} />
        <${LanguageChoice} />
        <div><${Notifications} /></div>
      </section>
      <${AboutYou} onClose=${onClose} />
      <${PromptSettings} />
      <${VoiceSettings} choose=${choose} />
      <${Grants} />
      <section class="stack" aria-labelledby="export">
        <div>
          <h3 id="export">${t("settings.data")}</h3>
          <p class="muted">${t("settings.export_hint")}</p>
        </div>
        <div class="row"><a class="button" href="/api/me/export" download><${Icon} name="export" size=${18} />${t("settings.export")}</a></div>
      </section>
      <${ChatImports} />
      ${known?.login !== "none" && known?.person && html`<${Account} person=${known.person} login=${known.login} />`}
      <p class="muted small">${t("settings.version", { version: known?.version ?? "" })}</p>
    </div>
  <//>`;
}

/** Height below the upper edge in which a heading counts as the one at the top. */
const TOP_PIXELS = 120;

/**
 * Buttons that lead to the sections which there are, each to its heading.
 *
 * @param {{of: {current: HTMLElement | null}}} props
 */
function Sections({ of }) {
  const [sections, setSections] = useState(/** @type {{id: string, title: string}[]} */ ([]));
  const [seen, setSeen] = useState("general");
  /** Id of the section that was chosen, which may be too near the end to stand at the top. */
  const chosen = useRef("");
  const nav = useRef(/** @type {HTMLElement | null} */ (null));
  // Where the sections are a row, the one that is read is in view.
  useEffect(() => nav.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [seen]);
  const read = () => {
    const now = headingsIn(of.current).map(({ id, textContent }) => ({ id, title: textContent ?? "" }));
    if (JSON.stringify(now) !== JSON.stringify(sections)) setSections(now);
  };
  useLayoutEffect(read); // in another language they have other titles
  useEffect(() => {
    const body = /** @type {HTMLElement} */ (of.current);
    const observer = new MutationObserver(read); // some sections come once their data is there
    observer.observe(body, { childList: true });
    const look = () => setSeen((chosen.current = sectionInView(body, chosen.current)));
    body.parentElement?.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      body.parentElement?.removeEventListener("scroll", look);
    };
  }, [sections]);
  const go = (/** @type {string} */ id) => {
    const heading = headingsIn(of.current).find((each) => each.id === id);
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "start" });
    setSeen((chosen.current = id));
  };
  return html`<nav class="settings-sections" ref=${nav} aria-label=${t("settings.sections")}>
    <ul>
      ${sections.map(({ id, title }) => html`<li key=${id}><button type="button" aria-current=${id === seen ? "true" : undefined} onClick=${() => go(id)}>${title}</button></li>`)}
    </ul>
  </nav>`;
}

/** @param {HTMLElement | null} body @returns {HTMLElement[]} */
const headingsIn = (body) => [...(body?.querySelectorAll(":scope > section > h3, :scope > section > div > h3") ?? [])].filter((each) => each instanceof HTMLElement);

/**
 * Returns the id of the section that is read: the chosen one while its heading is in view, or the last one that
 * begins at the top.
 *
 * @param {HTMLElement} body @param {string} chosen
 */
function sectionInView(body, chosen) {
  const { top, bottom } = /** @type {HTMLElement} */ (body.parentElement).getBoundingClientRect();
  const headings = headingsIn(body).map((heading) => ({ id: heading.id, at: heading.getBoundingClientRect().top }));
  const kept = headings.find(({ id, at }) => id === chosen && at >= top && at < bottom);
  return (kept ?? headings.findLast(({ at }) => at < top + TOP_PIXELS) ?? headings[0])?.id ?? "";
}

function choose(/** @type {Record<string, unknown>} */ chosen) {
  prefs.value = { ...prefs.value, ...chosen };
}

function Appearance() {
  const seen = prefs.value.theme ?? "auto";
  const take = (/** @type {import("../theme.mjs").Theme} */ theme) => () => {
    choose({ theme });
    applyTheme(theme);
  };
  return html`<fieldset>
    <legend class="label">${t("settings.theme")}</legend>
    <div class="choices">
      ${THEMES.map(
        (theme) => html`<label class="choice" key=${theme}>
          <input type="radio" name="theme" value=${theme} checked=${seen === theme} onChange=${take(theme)} />
          <span class=${`swatch ${theme}`} aria-hidden="true"></span>${t(`settings.theme_${theme}`)}
        </label>`,
      )}
    </div>
  </fieldset>`;
}

function LanguageChoice() {
  const take = (/** @type {any} */ event) => {
    choose({ language: event.currentTarget.value });
    runAndReport(() => loadLanguage(prefs.value.language));
  };
  return html`
    <${Field} label=${t("settings.language")}>
      <select class="input" value=${prefs.value.language ?? "auto"} onChange=${take}>
        <option value="auto">${t("settings.language_auto")}</option>
        ${LANGUAGES.map((code) => html`<option key=${code} value=${code} lang=${code}>${LANGUAGE_NAMES[code]}</option>`)}
      </select>
    <//>
    <${Check}
      label=${t("settings.enter_sends")} hint=${t("settings.enter_sends_hint")} checked=${prefs.value.enterSends !== false}
      onChange=${(/** @type {boolean} */ enterSends) => choose({ enterSends })}
    />
  `;
}

/** Notifications of the browser, which is asked only when the person ticks the box. */
function Notifications() {
  const [refused, setRefused] = useState(false);
  if (!hasNotifications()) return null;
  const take = async (/** @type {boolean} */ wanted) => {
    setRefused(false); // so that the note is drawn again at the next refusal
    const allowed = wanted && (await allowNotifications());
    setRefused(wanted && !allowed);
    choose({ notifications: allowed });
  };
  return html`<${Check}
      label=${t("settings.notifications")} hint=${t("settings.notifications_hint")} checked=${notificationsOn()} key=${refused} onChange=${take}
    />
    <p class="note bad" role="alert" hidden=${!refused}>${refused ? t("settings.notifications_refused") : ""}</p>`;
}

/** The way to what every assistant reads of the person. @param {{onClose: () => void}} props */
function AboutYou({ onClose }) {
  return html`<section class="stack" aria-labelledby="about-you">
    <div>
      <h3 id="about-you">${t("you.title")}</h3>
      <p class="muted">${t("you.hint")}</p>
    </div>
    <div class="row"><${Link} href="/you" class="button" onFollow=${onClose}><${Icon} name="people" size=${18} />${t("you.open")}<//></div>
  </section>`;
}

function Account(/** @type {{person: {name: string}, login: string}} */ { person, login }) {
  const everywhere = async () => {
    if (await runAndReport(() => post("/api/logout/everywhere", {}))) await leave();
  };
  return html`<section class="stack account" aria-labelledby="account">
    <div>
      <h3 id="account">${t("settings.account")}</h3>
      <p class="muted">${t("settings.signed_in_as", { name: person.name })}</p>
    </div>
    ${login === "password" && html`<${Password} name=${person.name} />`}
    ${login !== "proxy" &&
    html`<div class="row">
      <button type="button" class="button" onClick=${signOut}><${Icon} name="signout" size=${18} />${t("settings.sign_out")}</button>
      <button type="button" class="button quiet" onClick=${everywhere}>${t("settings.sign_out_everywhere")}</button>
    </div>`}
  </section>`;
}

function Password(/** @type {{name: string}} */ { name }) {
  const change = async (/** @type {Record<string, string>} */ { old, new: fresh }, /** @type {HTMLFormElement} */ form) => {
    // The session is new, and so is its CSRF token.
    const { csrf } = await post("/api/password", { old, new: fresh });
    me.value = { ...me.value, csrf };
    form.reset();
    toast({ text: t("settings.password_changed") });
  };
  return html`<details>
    <summary>${t("settings.password_change")}</summary>
    <${Form} onSubmit=${change} action=${t("settings.password_save")}>
      <input type="text" name="name" value=${name} autocomplete="username" hidden readonly />
      <${Field} label=${t("settings.password_old")}>
        <input class="input" type="password" name="old" required autocomplete="current-password" />
      <//>
      <${Field} label=${t("settings.password_new")} hint=${t("settings.password_hint")}>
        <input class="input" type="password" name="new" required minlength="8" autocomplete="new-password" />
      <//>
    <//>
  </details>`;
}

async function signOut() {
  if (await runAndReport(() => post("/api/logout", {}))) await leave();
}

/** Clears what the user wrote from the browser, with the page that it keeps, and opens the login. */
async function leave() {
  writeStored(PERSON, null);
  await forgetPage();
  // The composer stores its text when the page closes; this runs afterwards.
  window.addEventListener("pagehide", () => forgetDrafts(personId()), { once: true });
  window.location.assign("/login");
}
