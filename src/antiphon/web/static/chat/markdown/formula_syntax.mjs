/**
 * Syntax of formulas in Markdown: `$x$`, `$$x$$`, `\(x\)` and `\[x\]`, as extensions of marked.
 *
 * A formula contains no empty line, so a dollar sign is known to be text before the whole text is
 * there. `formulas.mjs` renders formulas.
 */

/** A formula on lines of its own; a line may follow at once, as after any block. */
const BLOCK = /^ {0,3}(?:\$\$((?:(?!\n[ \t]*\n)[^$]|\\\$)+?)\$\$|\\\[((?:(?!\n[ \t]*\n)[^])+?)\\\])[ \t]*(?:\n|$)/;
/** Inline formula, by pandoc's rules: no space inside the dollars and no digit after them, as in prices. */
const INLINE =
  /^(?:\$\$((?:(?!\n[ \t]*\n)[^$])+?)\$\$|\$(?!\s)((?:\\[^\n]|[^$\\\n]|\n(?![ \t]*\n))*?[^\s\\]|[^\s\\$])\$(?![\d$])|\\\(((?:(?!\n[ \t]*\n)[^])+?)\\\)|\\\[((?:(?!\n[ \t]*\n)[^])+?)\\\])/;
/** Start of a block formula in a paragraph, or the end of the paragraph. */
const BEFORE_BLOCK = /\n {0,3}(?:\$\$|\\\[)|\n[ \t]*\n/g;
/** Longest formula; a longer one stays text. */
export const LONGEST_FORMULA = 4000;

/** @param {string | undefined} tex @param {boolean} display */
const formulaToken = (tex, display) => ({ tex: (tex ?? "").trim(), display });

/** Extension of marked for block formulas. */
export const blockMaths = {
  name: "blockMaths",
  level: /** @type {const} */ ("block"),
  /** Returns the start of the next formula in a paragraph; a false start would split the paragraph. */
  start(/** @type {string} */ source) {
    for (const found of source.slice(0, LONGEST_FORMULA).matchAll(BEFORE_BLOCK)) {
      if (found[0].endsWith("\n")) return undefined;
      if (formulaBlock(source.slice(found.index + 1))) return found.index;
    }
    return undefined;
  },
  tokenizer(/** @type {string} */ source) {
    const found = formulaBlock(source);
    return found && { type: "blockMaths", raw: found[0], ...formulaToken(found[1] ?? found[2], true) };
  },
};

/** Extension of marked for inline formulas. */
export const inlineMaths = {
  name: "inlineMaths",
  level: /** @type {const} */ ("inline"),
  /** Returns the next dollar sign; marked stops at a backslash by itself. */
  start: (/** @type {string} */ source) => source.indexOf("$"),
  tokenizer(/** @type {string} */ source) {
    if (source[0] !== "$" && source[0] !== "\\") return undefined;
    const found = INLINE.exec(source.slice(0, LONGEST_FORMULA + 4));
    if (!found) return undefined;
    const tex = found.slice(1).find((part) => part !== undefined);
    if (!tex?.trim()) return undefined;
    return { type: "inlineMaths", raw: found[0], ...formulaToken(tex, found[1] !== undefined || found[4] !== undefined) };
  },
};

/**
 * Returns the start of a formula whose end may still come; else the length of the text.
 *
 * @param {string} source whose last line may be unfinished
 */
export function openFormula(source) {
  const opening = /^ {0,3}(\$\$|\\\[)/gm;
  opening.lastIndex = [...source.matchAll(/\n[ \t]*\n/g)].at(-1)?.index ?? 0;
  for (let found = opening.exec(source); found; found = opening.exec(source)) {
    const end = source.indexOf(found[1] === "$$" ? "$$" : "\\]", opening.lastIndex);
    if (end < 0) return source.length - found.index > LONGEST_FORMULA ? source.length : found.index;
    opening.lastIndex = end + 2;
  }
  return source.length;
}

/** @param {string} source */
function formulaBlock(source) {
  if (!/^ {0,3}(?:\$\$|\\\[)/.test(source)) return undefined;
  const found = BLOCK.exec(source.slice(0, LONGEST_FORMULA + 8));
  return found && (found[1] ?? found[2]).trim() ? found : undefined;
}
