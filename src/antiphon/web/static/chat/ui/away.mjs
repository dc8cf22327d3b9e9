/** Notice while the server is unreachable. */
import { away } from "../store.mjs";
import { t } from "../t.mjs";
import { html, useEffect, useRef } from "../vendor/ui.mjs";
import { announce } from "./announce.mjs";
import { Icon } from "./icons.mjs";

export function Away() {
  const was = useRef(false);
  const is = away.value;
  useEffect(() => {
    if (is !== was.current) announce(t(is ? "away.text" : "away.back"));
    was.current = is;
  }, [is]);
  if (!is) return null;
  return html`<p class="away small"><${Icon} name="warn" size=${16} /> <span>${t("away.text")}</span></p>`;
}
