/** Published assistants: those of other users, and the choice to publish one's own. */
import { canPublish, chatWith, published } from "../assistants.mjs";
import { revealText } from "../hidden_characters.mjs";
import { copyPublished, publishAssistant, unpublishAssistant } from "../published.mjs";
import { t } from "../t.mjs";
import { html } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Plain } from "./plain.mjs";
import { runAndReport, toast } from "./toasts.mjs";

/** @typedef {import("../assistants.mjs").Assistant} Assistant */

/** The assistants of others under their own heading; nothing if there are none. */
export function PublishedByOthers() {
  const list = published.value ?? [];
  if (list.length === 0) return null;
  return html`<section class="stack published" aria-labelledby="published">
    <h2 id="published">${t("assistants.of_others")}</h2>
    <ul class="cards">${list.map((one) => html`<${Card} key=${one.id} assistant=${one} />`)}</ul>
  </section>`;
}

/** The texts are another person's: invisible characters in them are shown. */
function Card(/** @type {{assistant: Assistant}} */ { assistant }) {
  const name = revealText(assistant.name) || t("assistants.unnamed");
  const copy = async () => {
    if (await runAndReport(() => copyPublished(assistant.id))) toast({ text: t("assistants.copied") });
  };
  return html`<li class="card assistant">
    <div>
      <h3 dir="auto">${name}</h3>
      ${assistant.author && html`<p class="muted small" dir="auto">${t("assistants.by", { name: revealText(assistant.author) })}</p>`}
    </div>
    ${assistant.instructions
      ? html`<details>
          <summary>${t("assistants.instructions")}</summary>
          <${Plain} text=${assistant.instructions} name=${`published:${assistant.id}`} label=${t("assistants.instructions")} judged=${true} />
        </details>`
      : html`<p class="muted told">${t("assistants.no_instructions")}</p>`}
    ${assistant.model && html`<div class="row"><span class="badge">${assistant.model}</span></div>`}
    <div class="row">
      <button type="button" class="button" aria-label=${`${t("assistants.chat")}: ${name}`} onClick=${() => chatWith(assistant.id)}>${t("assistants.chat")}</button>
      <button type="button" class="button quiet" aria-label=${`${t("assistants.take_copy")}: ${name}`} onClick=${copy}>${t("assistants.take_copy")}</button>
    </div>
  </li>`;
}

/** The user's own assistant, published and taken back independently of the form. */
export function Publish(/** @type {{assistant: Assistant}} */ { assistant }) {
  const isPublished = Boolean(assistant.published_at);
  if (!canPublish.value && !isPublished) return null;
  const change = () => runAndReport(() => (isPublished ? unpublishAssistant : publishAssistant)(assistant.id));
  return html`<section class="card stack" aria-labelledby="publish">
    <div>
      <h2 id="publish">${t("assistants.publish")}</h2>
      <p class="muted">${t("assistants.publish_hint")}</p>
    </div>
    <div class="row">
      ${isPublished && html`<span class="badge good">${t("assistants.published")}</span>`}
      <button type="button" class="button" onClick=${change}>
        <${Icon} name="people" size=${18} />${t(isPublished ? "assistants.unpublish" : "assistants.publish_now")}
      </button>
    </div>
  </section>`;
}
