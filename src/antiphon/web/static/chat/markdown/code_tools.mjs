/** Buttons in the head of a code block: wrap its long lines, number them, save it as a file. */

/** File name extensions by language, where they differ from its name. */
const ENDS = {
  bash: "sh", "c++": "cpp", "c#": "cs", csharp: "cs", golang: "go", javascript: "js", kotlin: "kt", latex: "tex", markdown: "md",
  perl: "pl", powershell: "ps1", python: "py", python3: "py", ruby: "rb", rust: "rs", shell: "sh", typescript: "ts", yaml: "yml",
  zsh: "sh",
};

/** Class of a block while a switch is on. */
const SWITCHES = /** @type {const} */ ({ wrap: "wrapped", numbers: "numbered" });

/** Time for which a saved file can be read. */
const SAVED_MS = 60_000;

/** Returns the buttons of a block. @param {import("../md.mjs").Labels} labels @returns {HTMLButtonElement[]} */
export function codeTools(labels) {
  return /** @type {const} */ (["wrap", "numbers", "save"]).map((tool) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `code-tool ${tool}`;
    button.textContent = labels[tool];
    if (tool in SWITCHES) button.setAttribute("aria-pressed", "false");
    return button;
  });
}

/** Handles a press of one of these buttons. @param {HTMLElement} button @param {Element} block */
export function pressCodeTool(button, block) {
  if (button.classList.contains("save")) return saveCode(block);
  // A line that is wrapped has several rows but one number, so it is one or the other.
  for (const [name, looks] of Object.entries(SWITCHES)) {
    const isOn = button.classList.contains(name) && !block.classList.contains(looks);
    block.classList.toggle(looks, isOn);
    block.querySelector(`.code-tool.${name}`)?.setAttribute("aria-pressed", String(isOn));
  }
  return numberLines(block);
}

/** Writes the numbers of the lines of a block beside them, if they are shown. @param {Element} block */
export function numberLines(block) {
  const before = block.querySelector(".code-numbers");
  if (!block.classList.contains(SWITCHES.numbers)) return before?.remove();
  const count = codeIn(block).replace(/\n$/, "").split("\n").length;
  const written = Array.from({ length: count }, (_, line) => line + 1).join("\n");
  if (before?.textContent === written) return undefined;
  const numbers = before ?? document.createElement("span");
  numbers.className = "code-numbers";
  numbers.setAttribute("aria-hidden", "true");
  numbers.textContent = written;
  if (!before) block.querySelector("pre")?.prepend(numbers);
  return undefined;
}

/** Returns the code of a block. */
export function codeIn(/** @type {Element} */ block) {
  return block.querySelector("code")?.textContent ?? "";
}

/** Saves the code as a file. @param {Element} block */
function saveCode(block) {
  const lang = /language-(\S+)/.exec(block.querySelector("code")?.className ?? "")?.[1] ?? "";
  const known = Object.hasOwn(ENDS, lang) ? ENDS[/** @type {keyof typeof ENDS} */ (lang)] : lang;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([codeIn(block)], { type: "application/octet-stream" }));
  link.download = `code.${/^[a-z0-9]{1,8}$/.test(known) ? known : "txt"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED_MS);
}
