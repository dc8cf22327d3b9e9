/** The page `/you`: instructions for every assistant, and memories about the person. */
import { changePersonal, deleteMemories, deleteMemory, findMemories, loadPersonal, memories, personalSettings, saveMemory } from "../personal.mjs";
import { me } from "../store.mjs";
import { t, tCount } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { ConfirmDialog } from "./confirm.mjs";
import { Dialog } from "./dialog.mjs";
import { Check, Field, Form } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Menu } from "./menu.mjs";
import { Revealed } from "./word.mjs";
import { MenuButton, NewThreadButton } from "./sidebar_state.mjs";
import { moment } from "./times.mjs";
import { runAndReport, toast } from "./toasts.mjs";

/** @typedef {import("../personal.mjs").Memory} Memory */

export function You() {
  // Again when it is known who the person is: the page may have been opened here.
  const loaded = useLoad(async () => (await loadPersonal()) ?? true, [me.value?.person?.id]);
  return html`
    <div class="topbar"><${MenuButton} /><h1>${t("you.title")}</h1><${NewThreadButton} /></div>
    <div class="page you">
      <p class="muted">${t("you.hint")}</p>
      <${Loaded} of=${loaded}>${() => personalSettings.value && html`<${Instructions} /><${Memories} />`}<//>
    </div>
  `;
}

function Instructions() {
  const settings = /** @type {NonNullable<typeof personalSettings.value>} */ (personalSettings.value);
  const save = async (/** @type {Record<string, string>} */ { instructions }) => {
    await changePersonal({ instructions });
    toast({ text: t("you.saved") });
  };
  return html`<section class="stack" aria-labelledby="you-instructions">
    <h2 id="you-instructions">${t("you.instructions")}</h2>
    <${Check} label=${t("you.instructions_on")} checked=${settings.instructions_enabled}
      onChange=${(/** @type {boolean} */ wanted) => runAndReport(() => changePersonal({ instructions_enabled: wanted }))} />
    <${Form} onSubmit=${save} action=${t("common.save")}>
      <${Field} label=${t("you.instructions_text")} hint=${t("you.instructions_hint")}>
        <textarea class="input" name="instructions" rows="6" maxlength="4000" dir="auto" defaultValue=${settings.instructions}></textarea>
      <//>
    <//>
  </section>`;
}

function Memories() {
  const settings = /** @type {NonNullable<typeof personalSettings.value>} */ (personalSettings.value);
  const all = memories.value ?? [];
  const [words, setWords] = useState("");
  const [dialog, setDialog] = useState(/** @type {any} */ (null));
  const close = () => setDialog(null);
  const found = findMemories(all, words);
  return html`<section class="stack" aria-labelledby="you-memories">
    <div>
      <h2 id="you-memories">${t("you.memories")}</h2>
      <p class="muted">${t("you.memories_hint")}</p>
    </div>
    <${Check} label=${t("you.memory_on")} hint=${t("you.memory_on_hint")} checked=${settings.memory_enabled}
      onChange=${(/** @type {boolean} */ wanted) => runAndReport(() => changePersonal({ memory_enabled: wanted }))} />
    ${all.length > 0 && html`<input class="input" type="search" value=${words} aria-label=${t("you.search")} placeholder=${t("you.search")}
      onInput=${(/** @type {any} */ event) => setWords(event.currentTarget.value)} />`}
    <p class="muted small" role="status">${all.length === 0 ? t("you.none") : tCount("you.found", found.length)}</p>
    ${found.length > 0 && html`<ul class="prompts memories">
      ${found.map((memory) => html`<${Row} key=${memory.id} memory=${memory} setDialog=${setDialog} onClose=${close} />`)}
    </ul>`}
    <div class="row">
      <button type="button" class="button" onClick=${() => setDialog(html`<${MemoryDialog} onClose=${close} />`)}><${Icon} name="new" size=${18} />${t("you.add")}</button>
      ${all.length > 0 && html`<button type="button" class="button quiet" onClick=${() => setDialog(html`<${DeleteAll} onClose=${close} />`)}><${Icon} name="trash" size=${18} />${t("you.delete_all")}</button>`}
    </div>
    ${dialog}
  </section>`;
}

/** @param {{memory: Memory, setDialog: (dialog: any) => void, onClose: () => void}} props */
function Row({ memory, setDialog, onClose }) {
  const choices = [
    { label: t("common.edit"), icon: "edit", run: () => setDialog(html`<${MemoryDialog} memory=${memory} onClose=${onClose} />`) },
    { label: t("common.delete"), icon: "trash", danger: true, run: () => runAndReport(() => deleteMemory(memory.id)) },
  ];
  return html`<li class="row">
    <span class="grow">
      <span class="block" dir="auto"><${Revealed} text=${memory.text} /></span>
      <span class="hint block">${moment(memory.updated_at)}${" · "}${memory.source === "person"
        ? t("you.by_person")
        : memory.thread_id
          ? html`<${Link} href=${`/t/${memory.thread_id}`}>${t("you.by_assistant")}<//>`
          : t("you.by_assistant")}</span>
    </span>
    <${Menu} label=${t("you.actions", { text: memory.text })} choices=${choices} />
  </li>`;
}

/** @param {{memory?: Memory, onClose: () => void}} props */
function MemoryDialog({ memory, onClose }) {
  const save = async (/** @type {Record<string, string>} */ { text }) => {
    await saveMemory(memory?.id ?? null, text);
    onClose();
  };
  return html`<${Dialog} title=${t(memory ? "you.edit" : "you.add")} onClose=${onClose}>
    <${Form} onSubmit=${save} action=${t("common.save")} onCancel=${onClose}>
      <${Field} label=${t("you.text")} hint=${t("you.text_hint")}>
        <input class="input" name="text" required maxlength="300" autocomplete="off" dir="auto" defaultValue=${memory?.text ?? ""} />
      <//>
    <//>
  <//>`;
}

/** @param {{onClose: () => void}} props */
function DeleteAll({ onClose }) {
  return html`<${ConfirmDialog}
    title=${t("you.delete_all_title")} text=${t("you.delete_all_text")} action=${t("you.delete_all")}
    onConfirm=${deleteMemories} onClose=${onClose}
  />`;
}
