/** Owners of data: totals, export and erasure. */
import { get, remove } from "../api.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useRef, useState } from "../vendor/ui.mjs";
import { Dialog } from "./dialog.mjs";
import { Field, Form, FormError } from "./forms.mjs";
import { Icon } from "./icons.mjs";
import { Loaded, useLoad } from "./loading.mjs";
import { Table } from "./table.mjs";
import { toast } from "./toasts.mjs";
import { whole } from "./usage.mjs";

/** @typedef {{owner: string, name: string, kind: string, threads: number, runs: number, files: number, assistants: number}} Owner */

const KINDS = /** @type {const} */ (["threads", "runs", "files", "assistants"]);

const address = (/** @type {Owner} */ { owner }) => `/api/admin/owners/${encodeURIComponent(owner)}`;
const ownerName = (/** @type {Owner} */ { kind, name }) => (kind === "everybody" ? t("people.everybody") : name);

export function Owners() {
  const loaded = useLoad(() => get("/api/admin/owners"));
  const [erasing, setErasing] = useState(/** @type {Owner | null} */ (null));
  return html`
    <div>
      <h2>${t("admin.owners")}</h2>
      <p class="muted">${t("owners.hint")}</p>
    </div>
    <${Loaded} of=${loaded}>${({ data }) => (data.length > 0 ? html`<${OwnerTable} owners=${data} onErase=${setErasing} />` : html`<p class="empty">${t("owners.none")}</p>`)}<//>
    ${erasing && html`<${Erasure} of=${erasing} onDone=${loaded.again} onClose=${() => setErasing(null)} />`}
  `;
}

function OwnerTable(/** @type {{owners: Owner[], onErase: (owner: Owner) => void}} */ { owners, onErase }) {
  const columns = [
    { name: t("owners.owner"), show: (/** @type {Owner} */ owner) => html`<strong dir="auto">${ownerName(owner)}</strong> <span class="badge">${t(`owners.kind_${owner.kind}`)}</span>` },
    ...KINDS.map((kind) => ({ name: t(`owners.${kind}`), number: true, show: (/** @type {Owner} */ owner) => whole(owner[kind]) })),
    { name: "", show: (/** @type {Owner} */ owner) => html`<span class="row">
      <a class="button small" href=${`${address(owner)}/export`} download aria-label=${t("owners.export_of", { name: ownerName(owner) })}><${Icon} name="export" size=${16} />${t("owners.export")}</a>
      <button type="button" class="button small danger" aria-label=${t("owners.erase_of", { name: ownerName(owner) })} onClick=${() => onErase(owner)}>${t("owners.erase")}</button>
    </span>` },
  ];
  return html`<${Table} caption=${t("admin.owners")} columns=${columns} rows=${owners} keyOf=${(/** @type {Owner} */ owner) => owner.owner} />`;
}

/** Dialog that erases an owner after their name was typed, and repeats until all data is gone. */
function Erasure(/** @type {{of: Owner, onDone: () => Promise<void>, onClose: () => void}} */ { of, onDone, onClose }) {
  const [erased, setErased] = useState(0);
  const here = useRef(true);
  useEffect(() => () => {
    here.current = false;
  }, []);
  const erase = async (/** @type {Record<string, string>} */ { typed }) => {
    if (typed.trim() !== ownerName(of)) throw new FormError(t("owners.typed_wrong"));
    let done = false;
    let gone = 0;
    // A dialog that was closed leaves the rest: what is gone is gone, and it can be asked for again.
    while (!done && here.current) {
      const said = await remove(address(of));
      done = said.done;
      gone += said.erased;
      if (here.current) setErased(gone);
    }
    if (done) toast({ text: t("owners.erased", { name: ownerName(of), count: whole(gone) }) });
    if (here.current) onClose();
    await onDone();
  };
  return html`<${Dialog} title=${t("owners.erase_title", { name: ownerName(of) })} onClose=${onClose}>
    <${Form} onSubmit=${erase} action=${t("owners.erase_all")} onCancel=${onClose} destroys>
      <p>${t("owners.erase_text")}</p>
      <p class="muted">${KINDS.map((kind) => `${t(`owners.${kind}`)}: ${whole(of[kind])}`).join(" · ")}</p>
      <${Field} label=${t("owners.type_name", { name: ownerName(of) })}><input class="input" name="typed" required autocomplete="off" spellcheck="false" autocapitalize="off" /><//>
      <p role="status">${erased > 0 && t("owners.progress", { count: whole(erased) })}</p>
    <//>
  <//>`;
}
