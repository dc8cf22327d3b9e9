// Sets the colours before the first paint, so that nobody who works in the dark is dazzled. A plain
// script, for a module would run after the first paint; `theme.mjs` takes over once it is there.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const contrast = window.matchMedia("(prefers-contrast: more)").matches;
  let wanted = "auto";
  try {
    wanted = JSON.parse(localStorage.getItem("antiphon.prefs") || "{}").theme || "auto";
  } catch {
    // Storage that is closed or holds something strange: the system's colours do.
  }
  const seen = wanted === "auto" ? (contrast ? "contrast" : dark ? "dark" : "light") : wanted;
  document.documentElement.dataset.theme = seen;
})();
