/** Login by password, or a link to the identity provider. */
import { get, post } from "../api.mjs";
import { me, path } from "../store.mjs";
import { ICON } from "../theme.mjs";
import { tCount, t } from "../t.mjs";
import { html, useEffect, useState } from "../vendor/ui.mjs";
import { Field, Form } from "./forms.mjs";

const PROBLEMS = ["oidc_unreachable", "oidc_refused", "oidc_stale", "oidc_untrusted", "person_disabled"];

/**
 * @param {{onDone?: () => void}} props `onDone` is called after the login; without it the page reloads at
 *   the address that the user wanted
 */
export function Login({ onDone }) {
  const [{ way, site }, setWay] = useState({ way: me.value?.login, site: me.value?.title || "Antiphon" });
  useEffect(() => {
    if (!way) readLoginOptions().then(setWay);
  }, []);
  if (!way) return null;
  return html`<main class="login">
    <div class="login-card">
      <img class="login-mark" src=${ICON} alt="" width="48" height="48" />
      <h1>${t("login.title", { title: site })}</h1>
      <${Trouble} />
      ${loginForms(way, onDone ?? arrive)}
    </div>
  </main>`;
}

function loginForms(/** @type {string | undefined} */ way, /** @type {() => void} */ done) {
  switch (way) {
    case "oidc":
      return html`<a class="button primary wide" href=${`/login/oidc?next=${encodeURIComponent(targetPath())}`}>${t("login.oidc")}</a>`;
    case "proxy":
      return html`<p class="muted">${t("login.proxy")}</p>`;
    case "none":
      return html`<a class="button primary wide" href="/">${t("login.open")}</a>`;
    default:
      return html`<${WithPassword} onDone=${done} />`;
  }
}

function WithPassword(/** @type {{onDone: () => void}} */ { onDone }) {
  const signIn = async (/** @type {Record<string, string>} */ { name, password }) => {
    try {
      await post("/api/login", { name, password });
    } catch (problem) {
      throw refusalWords(problem);
    }
    onDone();
  };
  return html`<${Form} onSubmit=${signIn} action=${t("login.sign_in")}>
    <${Field} label=${t("login.name")}>
      <input
        class="input" name="name" required autofocus autocomplete="username" autocapitalize="none" spellcheck="false"
      />
    <//>
    <${Field} label=${t("login.password")}>
      <input class="input" type="password" name="password" required autocomplete="current-password" />
    <//>
  <//>`;
}

/** Returns the text of a refusal. @param {import("../api.mjs").Problem} problem */
function refusalWords(problem) {
  if (problem.status === 401) return { code: problem.code, message: t("login.wrong") };
  if (problem.status === 429 && problem.retryAfter) {
    return { code: problem.code, message: tCount("login.locked", Math.ceil(problem.retryAfter / 60)) };
  }
  return problem;
}

/** Error of a login at the provider. */
function Trouble() {
  const said = new URLSearchParams(window.location.search).get("problem");
  if (!said) return null;
  return html`<p class="note bad" role="alert">${PROBLEMS.includes(said) ? t(`login.${said}`) : t("login.failed")}</p>`;
}

/** Reads the way to log in and the site's name from the server's 401 response. */
async function readLoginOptions() {
  try {
    const { login, title } = await get("/api/me");
    return { way: login, site: title || "Antiphon" };
  } catch (problem) {
    return { way: problem.login ?? "password", site: problem.site || "Antiphon" };
  }
}

/** Returns the path to open after the login, always one of this page. */
function targetPath() {
  // Two slashes would name another host.
  return path.value.startsWith("/login") || !/^\/(?!\/)/.test(path.value) ? "/" : path.value;
}

function arrive() {
  window.location.assign(targetPath());
}
