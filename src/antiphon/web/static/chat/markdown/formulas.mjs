/** Formulas as MathML, which browsers draw natively: no fonts, no styles, no markup as text. */
import { loadLazily } from "./lazy.mjs";
import { LONGEST_FORMULA } from "./formula_syntax.mjs";

const withKatex = loadLazily(() => import("../vendor/katex.mjs"));

/** `trust: false` disables commands with addresses; the rest limits expansion. */
const LIMITS = { output: "mathml", trust: false, strict: "ignore", maxSize: 12, maxExpand: 300, throwOnError: true };

/** Allowed MathML. KaTeX also writes `style` and `href`, which are not needed here. */
const ATTRIBUTES = new Set(
  `xmlns display encoding mathvariant mathcolor mathbackground mathsize stretchy symmetric fence separator form accent
   accentunder largeop movablelimits lspace rspace minsize maxsize width height depth voffset linethickness notation
   displaystyle scriptlevel columnalign columnlines columnspacing rowalign rowlines rowspacing columnspan rowspan side
   frame`.split(/\s+/),
);

/**
 * Puts a drawn formula in the place of its source; a wrong one stays source.
 *
 * @param {HTMLElement} element holds the source as text
 */
export function drawFormula(element) {
  const tex = element.textContent ?? "";
  if (tex.length > LONGEST_FORMULA) return;
  withKatex((katex) => {
    const drawing = renderFormula(katex, tex, element.classList.contains("display"));
    if (!drawing) return element.classList.add("wrong");
    const place = document.createElement("span");
    place.className = element.className;
    place.append(drawing);
    element.replaceWith(place);
  });
}

/** @param {any} katex @param {string} tex @param {boolean} displayMode */
function renderFormula(katex, tex, displayMode) {
  try {
    const tree = katex.__renderToDomTree(tex, { ...LIMITS, displayMode });
    removeUnknownAttributes(tree);
    return /** @type {Node} */ (tree.toNode());
  } catch {
    return null; // KaTeX throws on invalid input, and not only ParseErrors
  }
}

/** Removes styles and attributes that are not allowed from KaTeX's tree. */
function removeUnknownAttributes(/** @type {any} */ tree) {
  if (tree.style) tree.style = {};
  for (const name of Object.keys(tree.attributes ?? {})) {
    if (!ATTRIBUTES.has(name)) delete tree.attributes[name];
  }
  for (const child of tree.children ?? []) removeUnknownAttributes(child);
}
