/** Pages for unknown addresses, for errors of the page itself, and around views that are not there yet. */
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Link } from "./link.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";

/** @param {{text?: string, children?: any}} props */
export function NotFound({ text, children }) {
  return html`<div class="topbar"><${MenuButton} /><span class="grow"></span><${NewThreadButton} /></div>
    <div class="lost">
      <h1>${t("lost.title")}</h1>
      <p class="muted">${text ?? t("lost.text")}</p>
      ${children}
      <${Link} href="/" class="button primary">${t("lost.home")}<//>
    </div>`;
}

/** Frame around a view that is not there yet. @param {{failed?: boolean, children?: any}} props */
export function ViewFrame({ failed, children }) {
  return html`<div class="topbar"><${MenuButton} /><span class="grow"></span><${NewThreadButton} /></div>
    <div class="page">${failed && html`<h1>${t("failed.title")}</h1>`}${children}</div>`;
}

/** Error of the page itself: only a reload helps, and nothing that was sent is lost. */
export function PageFailed() {
  return html`<div class="lost" role="alert">
    <h1>${t("failed.title")}</h1>
    <p class="muted">${t("failed.text")}</p>
    <button type="button" class="button primary" onClick=${() => window.location.reload()}>${t("failed.again")}</button>
  </div>`;
}
