/** The whole page: sidebar, the view of the address, and overlays. */
import { stop } from "../conversation_actions.mjs";
import { textOf } from "../reduce.mjs";
import { navigate } from "../router.mjs";
import { BESIDE, current, live, lost, moving, path, phase, signedOut } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useErrorBoundary } from "../vendor/ui.mjs";
import { announce, Announcer } from "./announce.mjs";
import { ArtifactPlace } from "./artifact.mjs";
import { Away } from "./away.mjs";
import { focusComposer } from "./composer.mjs";
import { Conversation } from "./conversation.mjs";
import { PageFailed, NotFound, ViewFrame } from "./failures.mjs";
import { laterView } from "./later_view.mjs";
import { helpOpen, openSettings, settingsOpen, useShortcuts } from "./shortcuts.mjs";
import { Sidebar } from "./sidebar.mjs";
import { searchThreads, toggleSidebar } from "./sidebar_state.mjs";
import { LeaveTemporary } from "./temporary.mjs";
import { Toasts } from "./toasts.mjs";

const MoveDialog = laterView(() => import("./folder_dialogs.mjs").then((module) => module.MoveDialog), { over: true });
const Settings = laterView(() => import("./settings.mjs").then((module) => module.Settings), { over: true });
const Assistants = laterView(() => import("./assistants.mjs").then((module) => module.Assistants), { frame: ViewFrame });
const SharedAssistant = laterView(() => import("./assistants.mjs").then((module) => module.SharedAssistant), { frame: ViewFrame, idle: false });
const You = laterView(() => import("./you.mjs").then((module) => module.You), { frame: ViewFrame, idle: false });
const UnsentText = laterView(() => import("./unsent_text.mjs").then((module) => module.UnsentText), { silent: true });
const Help = laterView(() => import("./help.mjs").then((module) => module.Help), { over: true });
const RunPage = laterView(() => import("./run.mjs").then((module) => module.RunPage), { frame: ViewFrame });
const Admin = laterView(() => import("./admin.mjs").then((module) => module.Admin), { frame: ViewFrame, idle: false });
const SharedChat = laterView(() => import("./shared_chat.mjs").then((module) => module.SharedChat), { idle: false });
const Login = laterView(() => import("./login.mjs").then((module) => module.Login), { idle: false });

/** @param {{onSignedIn: () => Promise<void>}} props */
export function App({ onSignedIn }) {
  const [broken] = useErrorBoundary((error) => console.error(error));
  if (broken) return html`<${PageFailed} />`;
  const [, first, token] = path.value.split("/");
  if (first === "shared") return html`<${SharedChat} token=${token} onSignedIn=${onSignedIn} /><${Toasts} />`;
  if (signedOut.value || path.value === "/login") {
    return html`<${Login} onDone=${() => startAfterLogin(onSignedIn)} /><${Toasts} />`;
  }
  return html`<${Inside} />`;
}

function Inside() {
  useShortcuts({
    new: () => (navigate("/"), focusComposer()),
    search: searchThreads,
    compose: focusComposer,
    stop: stopRunning,
    copy: copyLast,
    sidebar: toggleSidebar,
    settings: openSettings,
  });
  return html`<div class="app">
      <a class="skip button" href="#view" onClick=${skip}>${t("app.skip")}</a>
      <${Sidebar} />
      <main class="view" id="view" tabindex="-1"><${Away} /><${View} address=${path.value} /></main>
      <${ArtifactPlace} />
    </div>
    ${settingsOpen.value && html`<${Settings} onClose=${() => (settingsOpen.value = false)} />`}
    ${helpOpen.value && html`<${Help} onClose=${() => (helpOpen.value = false)} />`}
    ${moving.value && html`<${MoveDialog} ids=${moving.value} onClose=${() => (moving.value = null)} />`}
    <${LeaveTemporary} /><${Toasts} /><${Announcer} />`;
}

/** @param {{address: string}} props */
function View({ address }) {
  const [, first, second, third] = address.split("/");
  switch (first) {
    case "":
      return html`<${Conversation} />`;
    case "t":
    case "c":
      return lost.value === second ? html`<${NotFound}><${UnsentText} key=${second} thread=${second} /><//>` : html`<${Conversation} />`;
    case "assistants":
      return html`<${Assistants} path=${address} />`;
    case "you":
      return html`<${You} />`;
    case "a":
      return html`<${SharedAssistant} token=${second} />`;
    case "r":
      return html`<${RunPage} id=${second} other=${third} />`;
    case "admin":
      return html`<${Admin} path=${address} />`;
    default:
      return html`<${NotFound} />`;
  }
}

/** @param {() => Promise<void>} onSignedIn */
async function startAfterLogin(onSignedIn) {
  if (path.value === "/login") navigate("/", { replace: true });
  await onSignedIn();
}

/** Moves the focus past the sidebar, without a history entry. @param {MouseEvent} event */
function skip(event) {
  event.preventDefault();
  (document.getElementById("composer") ?? document.getElementById("view"))?.focus();
}

/** Stops the run; other handlers get the key if nothing runs. */
function stopRunning() {
  if (phase.value === "idle" && BESIDE.phase.value === "idle") return false;
  stop();
  return true;
}

async function copyLast() {
  const last = live.value ?? current.value?.messages.findLast(({ role }) => role === "assistant");
  if (!last) return;
  await navigator.clipboard.writeText(textOf(last));
  announce(t("message.copied"));
}
