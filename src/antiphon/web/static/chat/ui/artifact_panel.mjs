/**
 * Panel beside the chat that shows an artifact: preview and code, and its versions.
 *
 * Markdown is drawn by the page itself. HTML, SVG and Mermaid are shown in a sandboxed frame of a second
 * origin, at an address that the server signs for a minute. Scripts of HTML run only after a press of
 * "Run", those of SVG never; a diagram is drawn by a library.
 */
import { post } from "../api.mjs";
import { artifactOf } from "../markdown/artifacts.mjs";
import { blocksOf } from "../markdown/grammar.mjs";
import { normalizeNewlines } from "../markdown/incremental.mjs";
import { me, prefs } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/ui.mjs";
import { Icon } from "./icons.mjs";
import { Markdown } from "./markdown.mjs";
import { runAndReport } from "./toasts.mjs";

/** Widths in percent of the window. */
const LEAST = 25;
const MOST = 75;
const USUAL = 46;
const STEP = 4;

/** The panel covers the page where the window is narrower. */
const NARROW = "(width <= 60rem)";

/** Time for which a saved file can be read. */
const SAVED_MS = 60_000;
const COPIED_MS = 1500;

const ENDS = { html: "html", svg: "svg", mermaid: "mmd", markdown: "md" };

/**
 * @typedef {import("../markdown/artifacts.mjs").Artifact} Artifact
 * @typedef {import("./artifact.mjs").Version} Version
 */

/** @param {{at: import("../store.mjs").Pane, shown: Version, onClose: () => void}} props  `at` shows its conversation */
export function ArtifactPanel({ at, shown, onClose }) {
  const panel = useRef(/** @type {HTMLElement | null} */ (null));
  const title = useId();
  const messages = at.current.value?.messages ?? [];
  const versions = useMemo(() => listVersions(shown, messages), [shown, messages]);
  const [place, setPlace] = usePlace(shown, versions);
  const version = versions[Math.min(place, versions.length - 1)];
  const width = prefs.value.artifactWidth ?? USUAL;
  const { artifact } = version;
  const [tab, setTab] = useState(/** @type {"preview" | "code"} */ ("preview"));
  const name = artifact.title || t(`artifact.kind_${artifact.kind}`);

  useLayoutEffect(() => panel.current?.querySelector("h2")?.focus(), [shown]);
  useCoverage();

  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // the page has a meaning for Esc too
    onClose();
  };
  const step = (/** @type {number} */ by) => setPlace(Math.min(Math.max(place + by, 0), versions.length - 1));
  const button = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {() => void} */ press, /** @type {boolean} */ disabled = false) =>
    html`<button type="button" class="icon-button" aria-label=${label} title=${label} aria-disabled=${disabled} onClick=${() => !disabled && press()}><${Icon} name=${icon} /></button>`;

  return html`<aside class="artifact-panel" ref=${panel} aria-labelledby=${title} style=${{ "--artifact-width": `${width}%` }} onKeyDown=${keyed}>
    <${Divider} width=${width} />
    <header class="artifact-head">
      <h2 id=${title} class="clipped grow" tabindex="-1" dir="auto">${name}</h2>
      <${CopyButton} text=${artifact.text} />
      ${button("export", t("artifact.download"), () => saveText(artifact.text, fileName(artifact)))}
      ${button("close", t("artifact.close"), onClose)}
    </header>
    <div class="artifact-tabs" role="group" aria-label=${t("artifact.view")}>
      ${/** @type {const} */ (["preview", "code"]).map(
        (each) => html`<button type="button" key=${each} class="artifact-tab" aria-pressed=${tab === each} onClick=${() => setTab(each)}>${t(`artifact.${each}`)}</button>`,
      )}
      ${versions.length > 1 &&
      html`<span class="row artifact-versions" role="group" aria-label=${t("artifact.versions")}>
        ${button("left", t("artifact.older"), () => step(-1), place === 0)}
        <span class="small numbers" aria-live="polite">${t("artifact.version", { place: place + 1, of: versions.length })}</span>
        ${button("right", t("artifact.newer"), () => step(1), place >= versions.length - 1)}
      </span>`}
    </div>
    ${tab === "code"
      ? html`<pre class="artifact-source" tabindex="0" role="region" aria-label=${t("artifact.code")} dir="ltr">${artifact.text}</pre>`
      : artifact.kind === "markdown"
        ? html`<div class="artifact-document" tabindex="0" role="region" aria-label=${t("artifact.preview")}><${Markdown} text=${artifact.text} /></div>`
        : html`<${Preview} key=${`${version.message}:${artifact.kind}:${artifact.text}`} version=${version} name=${name} />`}
  </aside>`;
}

/**
 * Returns the versions of an artifact, oldest first: the blocks with its title in the answers of this
 * branch. One without a title has no other versions.
 *
 * @param {Version} shown @param {readonly import("../store.mjs").Message[]} messages @returns {Version[]}
 */
function listVersions(shown, messages) {
  const { kind, title } = shown.artifact;
  if (!title) return [shown];
  const answers = messages.filter(({ role }) => role === "assistant");
  const versions = answers.flatMap(({ id, parts }) =>
    parts
      .filter(({ type }) => type === "text")
      .flatMap(({ text }) => artifactsIn(text))
      .filter((artifact) => artifact.kind === kind && artifact.title === title)
      .map((artifact) => ({ artifact, message: id, thread: shown.thread })),
  );
  return versions.some((each) => isSame(each, shown)) ? versions : [shown];
}

/** @param {Version} one @param {Version} other */
const isSame = (one, other) => one.message === other.message && one.artifact.text === other.artifact.text;

/** @param {string} text @returns {Artifact[]} */
function artifactsIn(text) {
  if (!/^ {0,3}(?:`{3}|~{3})/m.test(text)) return [];
  const code = blocksOf(normalizeNewlines(text)).blocks.filter(({ type }) => type === "code");
  return code.map((block) => artifactOf(block.lang, block.text)).filter((each) => each !== null);
}

/**
 * Returns which version is shown, and a setter. The newest one is followed when another is added.
 *
 * @param {Version} shown @param {Version[]} versions @returns {[number, (place: number) => void]}
 */
function usePlace(shown, versions) {
  const opened = useMemo(() => Math.max(versions.findIndex((each) => isSame(each, shown)), 0), [shown]);
  const [place, setPlace] = useState(opened);
  const count = useRef(versions.length);
  useLayoutEffect(() => setPlace(opened), [opened, shown]);
  useLayoutEffect(() => {
    if (versions.length > count.current && place === count.current - 1) setPlace(versions.length - 1);
    count.current = versions.length;
  }, [versions.length]);
  return [place, setPlace];
}

/** Takes the page out of reach while the panel covers it. */
function useCoverage() {
  useEffect(() => {
    const narrow = window.matchMedia(NARROW);
    const covered = [...document.querySelectorAll(".sidebar, #view, .skip")];
    const cover = (/** @type {boolean} */ on) => covered.forEach((each) => each.toggleAttribute("inert", on));
    const changed = () => cover(narrow.matches);
    changed();
    narrow.addEventListener("change", changed);
    return () => {
      narrow.removeEventListener("change", changed);
      cover(false);
    };
  }, []);
}

/** The preview of HTML, SVG or Mermaid. @param {{version: Version, name: string}} props */
function Preview({ version: { artifact, message, thread }, name }) {
  const { kind } = artifact;
  const previews = me.value?.previews === true;
  const isPicture = kind !== "html";
  const [state, setState] = useState(/** @type {{address?: string, problem?: string, loading?: boolean}} */ ({ loading: previews && isPicture }));
  const closed = useRef(false);
  const show = async () => {
    setState({ loading: true });
    try {
      const path = `/api/threads/${encodeURIComponent(thread)}/previews/${encodeURIComponent(message)}`;
      const { address } = await post(path, { code: artifact.text, scripts: !isPicture });
      if (!closed.current) setState({ address });
    } catch (/** @type {any} */ error) {
      if (error.name !== "Problem") throw error;
      setState({ problem: error.message });
    }
  };
  useEffect(() => {
    if (previews && isPicture) void show();
    return () => {
      closed.current = true;
    };
  }, []);
  if (!previews) return html`<div class="artifact-note"><p>${t("artifact.no_origin")}</p><p class="muted small">${t("artifact.no_origin_hint")}</p></div>`;
  const { address, problem, loading } = state;
  return html`<div class="artifact-preview">
    <div class="artifact-bar">
      <${Icon} name="warn" size=${16} />
      <span class="grow">${t("artifact.by_model")}</span>
      ${address && kind !== "svg" && html`<button type="button" class="button small" onClick=${() => setState({})}><${Icon} name="stop" size=${16} />${t("artifact.stop")}</button>`}
      ${address && isPicture && html`<button type="button" class="button small quiet" onClick=${show}>${t("artifact.again")}</button>`}
    </div>
    ${address
      ? html`<iframe
          class="artifact-frame" sandbox=${kind === "svg" ? "" : "allow-scripts"} allow="" credentialless referrerpolicy="no-referrer"
          title=${t("artifact.frame", { name })} src=${address}
        ></iframe>`
      : html`<div class="artifact-note" role="status">
          ${problem && html`<p class="artifact-problem">${problem}</p>`}
          ${isPicture && !problem
&& loading
            ? html`<p class="muted">${t("common.loading")}</p>`
            : html`<p>${t(isPicture ? "artifact.try_again" : "artifact.run_hint")}</p>
                <button type="button" class="button primary" aria-disabled=${loading === true} onClick=${show}>${t(isPicture ? "common.again" : "artifact.run")}</button>`}
        </div>`}
  </div>`;
}

/** The edge of the panel, which can be moved. @param {{width: number}} props */
function Divider({ width }) {
  const set = (/** @type {number} */ percent) => {
    prefs.value = { ...prefs.value, artifactWidth: Math.round(Math.min(Math.max(percent, LEAST), MOST)) };
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key];
    if (!by) return;
    event.preventDefault();
    set(width + by);
  };
  const pressed = (/** @type {PointerEvent} */ event) => {
    const edge = /** @type {HTMLElement} */ (event.currentTarget);
    edge.setPointerCapture(event.pointerId);
    edge.onpointermove = ({ clientX }) => set(((window.innerWidth - clientX) / window.innerWidth) * 100);
    edge.onpointerup = () => (edge.onpointermove = null);
  };
  return html`<div
    class="artifact-divider" role="separator" aria-orientation="vertical" tabindex="0" aria-label=${t("artifact.width")}
    aria-valuenow=${width} aria-valuemin=${LEAST} aria-valuemax=${MOST} onKeyDown=${keyed} onPointerDown=${pressed}
  ></div>`;
}

/** @param {{text: string}} props */
function CopyButton({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await runAndReport(() => navigator.clipboard.writeText(text).then(() => true)))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  const label = t(copied ? "artifact.copied" : "artifact.copy");
  return html`<button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${copy}><${Icon} name=${copied ? "check" : "copy"} /></button>`;
}

/** Returns a safe file name. @param {Artifact} artifact */
function fileName({ title, kind }) {
  const end = ENDS[kind];
  const stem = title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60) || "artifact";
  return stem.toLowerCase().endsWith(`.${end}`) ? stem : `${stem}.${end}`;
}

/** @param {string} text @param {string} name */
function saveText(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED_MS);
}
