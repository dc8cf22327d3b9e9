/** Colour theme of the page: the user's choice, or the system's. */

/** @typedef {"auto"|"light"|"dark"|"contrast"} Theme */

/** Address of the page's picture; the folder of this module is that of the bundles. */
export const ICON = new URL("./icon.svg", import.meta.url).href;

export const THEMES = /** @type {const} */ (["auto", "light", "dark", "contrast"]);

/**
 * Resolves "auto" to the system's theme.
 *
 * @param {Theme} theme
 * @param {{dark: boolean, contrast: boolean}} system
 */
export function resolveTheme(theme, system) {
  if (theme !== "auto" && THEMES.includes(theme)) return theme;
  if (system.contrast) return "contrast";
  return system.dark ? "dark" : "light";
}

/** @type {{theme: Theme}} What was applied last, for the system may change its mind later. */
const applied = { theme: "auto" };

/** Gives the whole page the colours of this theme; "auto" follows the system from now on. */
export function applyTheme(/** @type {Theme} */ theme) {
  applied.theme = theme;
  show();
}

function show() {
  const system = { dark: asks("(prefers-color-scheme: dark)"), contrast: asks("(prefers-contrast: more)") };
  document.documentElement.dataset.theme = resolveTheme(applied.theme, system);
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--surface-2").trim();
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", colour);
}

function asks(/** @type {string} */ query) {
  return window.matchMedia(query).matches;
}

if (typeof window !== "undefined") {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
    window.matchMedia(query).addEventListener("change", show);
  }
}
