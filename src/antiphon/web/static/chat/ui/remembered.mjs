/** The note under a call that has remembered something, with an undo. */
import { deleteMemory } from "../personal.mjs";
import { t } from "../t.mjs";
import { html, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Link } from "./link.mjs";
import { Revealed } from "./word.mjs";
import { sentence } from "./toasts.mjs";

const ID = /^mem_[0-9a-z]{1,64}$/;

/** The memory that a call of `remember` added; null for other calls. @param {string} name @param {string} output */
export function readRemembered(name, output) {
  if (name !== "remember") return null;
  try {
    const { memory_id: id, remembered: text } = JSON.parse(output);
    return typeof id === "string" && ID.test(id) && typeof text === "string" ? { id, text } : null;
  } catch {
    return null;
  }
}

/** @param {{note: {id: string, text: string}}} props */
export function Remembered({ note }) {
  const [state, setState] = useState(/** @type {"there" | "busy" | "gone"} */ ("there"));
  const [problem, setProblem] = useState("");
  const undo = async () => {
    if (state === "busy") return;
    setState("busy");
    setProblem("");
    try {
      await deleteMemory(note.id);
      setState("gone");
    } catch (/** @type {any} */ failed) {
      if (failed?.status === 404) return setState("gone");
      setState("there");
      setProblem(sentence(failed));
    }
  };
  return html`<div class="remembered row" role="status">
    <${Icon} name=${state === "gone" ? "close" : "check"} size=${16} />
    <span class="grow">${state === "gone"
      ? t("remembered.gone")
      : html`<${Link} href="/you">${t("remembered.noted")}<//>${" "}<bdi><${Revealed} text=${note.text} /></bdi>`}${problem && html` <span class="bad">${problem}</span>`}</span>
    ${state !== "gone" && html`<button type="button" class="button small" aria-disabled=${state === "busy"} onClick=${undo}>${t("common.undo")}</button>`}
  </div>`;
}
