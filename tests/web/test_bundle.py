"""The page's modules are joined to one that does the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from antiphon.web.bundle import join_modules
from antiphon.web.routes.page import ENTRY_POINT, LIBRARIES, STATIC

MODULES = {
    "app/main.mjs": """import { double as twice, Box } from "./parts/numbers.mjs";
import { path } from "./parts/again.mjs";
import shout from "./vendor/shout.mjs";
import "./parts/effect.mjs";

const later = await import("./parts/later.mjs");
console.log(twice(4), new Box(3).size, path, shout("hey"), later.name, globalThis.effects);
""",
    "app/parts/numbers.mjs": """import { FACTOR } from "../factor.mjs";

/** Doubles: `import {"x"}` in a comment is no import. */
export function double(number) {
  // Not the same as: * 2;
  return /** @type {any} */ (number) * FACTOR; // https://example.org/*
}

/**
 * A box.
 */

export class Box {
  constructor(size) {
    this.size = size;
  }
}

export async function never() {}
""",
    "app/parts/again.mjs": """import { path, FACTOR } from "../factor.mjs";

export {
  path,
  FACTOR as factor,
};
""",
    "app/parts/effect.mjs": "globalThis.effects = (globalThis.effects ?? 0) + 1;\n",
    "app/parts/later.mjs": 'export const name = (await import("../factor.mjs")).path;\n',
    "app/factor.mjs": 'export const FACTOR = 2;\nexport const path = "/here";\n',
    "app/vendor/shout.mjs": "var up=t=>t.toUpperCase();export{up as default};",
}


def write(folder: Path, modules: dict[str, str]) -> None:
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(module: Path, node: str) -> str:
    return subprocess.run([node, module], check=True, capture_output=True, text=True).stdout


def test_a_bundle_does_what_its_modules_do(tmp_path: Path, node: str) -> None:
    write(tmp_path, MODULES)
    bundle = join_modules(tmp_path, "app/main.mjs", "app/vendor/")
    joined = tmp_path / "app" / "bundle.mjs"
    joined.write_text(bundle.text)

    assert "Doubles" not in bundle.text
    assert "Not the same" not in bundle.text
    assert "A box" not in bundle.text
    assert bundle.libraries == ("app/vendor/shout.mjs",)
    assert run(joined, node) == run(tmp_path / "app/main.mjs", node) == "8 3 /here HEY /here 1\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('import * as all from "./other.mjs";\n', "cannot be joined"),
        ("export default 4;\n", "cannot be joined"),
        ("export let changed = 4;\n", "cannot be joined"),
        ('export * from "./other.mjs";\n', "cannot be joined"),
        ('import { a } from "./circle.mjs";\n', "main.mjs -> circle.mjs -> main.mjs"),
    ],
)
def test_what_would_not_be_the_same_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    circle = 'import { b } from "./main.mjs";\nexport const a = 1;\n'
    write(tmp_path, {"main.mjs": text, "other.mjs": "\n", "circle.mjs": circle})

    with pytest.raises(ValueError, match=re.escape(reason)):
        join_modules(tmp_path, "main.mjs", "vendor/")


def test_the_page_is_joined_from_all_of_its_modules(tmp_path: Path) -> None:
    bundle = join_modules(STATIC, ENTRY_POINT, LIBRARIES)

    assert bundle.text.count("= await (async () => { // chat/") > 90
    assert all(name.startswith(LIBRARIES) for name in bundle.libraries)
