"""The page's modules are joined to bundles that do the same."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from antiphon.web.bundle import Bundle, join_modules
from antiphon.web.routes.page import BUNDLE, ENTRY_POINTS, LIBRARIES, MESSAGES, STATIC

MODULES = {
    "app/main.mjs": """import { double as twice, Box } from "./parts/numbers.mjs";
import { path } from "./parts/again.mjs";
import shout from "./vendor/shout.mjs";
import "./parts/effect.mjs";
import { count } from "./count.mjs";

const opened = (name) => console.log(name, count(), globalThis.effects);
console.log(twice(4), new Box(3).size, path, shout("hey"), count());
import("./parts/later.mjs")
  .then((later) => opened(later.name))
  .then(() => import("./parts/other.mjs"))
  .then(({ other }) => opened(other))
  .then(() => import("./factor.mjs"))
  .then(({ path }) => opened(path));
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
    "app/parts/later.mjs": """import { path } from "../factor.mjs";
import { double } from "./both.mjs";

export const name = `${path} later ${double(21)}`;
""",
    "app/parts/other.mjs": """import { count } from "../count.mjs";
import { double } from "./both.mjs";
import "./effect.mjs";

count();
export const other = `other ${double(1)}`;
""",
    "app/parts/both.mjs": """import { count } from "../count.mjs";
import { double } from "./numbers.mjs";

count();
export { double };
""",
    "app/count.mjs": "let counted = 0;\nexport const count = () => ++counted;\n",
    "app/factor.mjs": 'export const FACTOR = 2;\nexport const path = "/here";\n',
    "app/vendor/shout.mjs": "var up=t=>t.toUpperCase();export{up as default};",
}


def write(folder: Path, modules: dict[str, str]) -> None:
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(module: Path, node: str) -> str:
    return subprocess.run([node, module], check=True, capture_output=True, text=True).stdout


def test_bundles_do_what_their_modules_do(tmp_path: Path, node: str) -> None:
    write(tmp_path, MODULES)
    bundles = join_modules(tmp_path, ("app/main.mjs",), "app/vendor/")
    write(tmp_path, {name: bundle.text for name, bundle in bundles.items()})
    text = bundles["app/bundle.mjs"].text

    assert "Doubles" not in text
    assert "Not the same" not in text
    assert "A box" not in text
    assert "@type" not in text
    assert bundles["app/bundle.mjs"].imports == ("app/vendor/shout.mjs",)
    assert run(tmp_path / "app/bundle.mjs", node) == run(tmp_path / "app/main.mjs", node)
    assert run(tmp_path / "app/bundle.mjs", node) == (
        "8 3 /here HEY 1\n/here later 42 3 1\nother 2 5 1\n/here 6 1\n"
    )


def test_a_module_is_in_one_bundle_only_so_that_its_state_exists_once(tmp_path: Path) -> None:
    write(tmp_path, MODULES)
    bundles = join_modules(tmp_path, ("app/main.mjs", "app/parts/other.mjs"), "app/vendor/")
    modules = {name: list_modules(bundle) for name, bundle in bundles.items()}

    assert modules == {
        "app/bundle.mjs": {
            "main",
            "parts/numbers",
            "parts/again",
            "parts/effect",
            "count",
            "factor",
        },
        "app/bundle-parts-other.mjs": {"parts/other", "parts/both"},
        "app/bundle-parts-later.mjs": {"parts/later"},
    }
    assert bundles["app/bundle-parts-later.mjs"].imports == (
        "app/bundle.mjs",
        "app/bundle-parts-other.mjs",
    )


def test_a_bundle_that_is_loaded_at_the_second_try_runs_once_for_all_others(
    tmp_path: Path, node: str
) -> None:
    modules = {
        "main.mjs": """globalThis.runs = 0;
const load = () => import("./shown.mjs");
globalThis.load = load;
globalThis.loadLater = () => import("./later.mjs");
""",
        "shown.mjs": "globalThis.runs += 1;\nexport const shown = {};\n",
        "later.mjs": 'import { shown } from "./shown.mjs";\nexport const same = shown;\n',
        "vendor/none.mjs": "",
    }
    write(tmp_path, modules)
    bundles = join_modules(tmp_path, ("main.mjs", "shown.mjs"), "vendor/")
    missing_name = "bundle-shown.mjs"
    write(tmp_path, {name: each.text for name, each in bundles.items() if name != missing_name})
    script = f"""import {{ writeFileSync }} from "node:fs";
await import("./bundle.mjs");
const outcome = (loading) => loading.then(() => "loaded", () => "failed");
const tries = [await outcome(loadLater()), await outcome(load())];
writeFileSync(new URL({missing_name!r}, import.meta.url), {bundles[missing_name].text!r});
const {{ same }} = await loadLater();
const {{ shown }} = await load();
console.log(...tries, runs, same === shown);
"""
    write(tmp_path, {"script.mjs": script})

    assert run(tmp_path / "script.mjs", node) == "failed failed 1 true\n"


def test_a_library_of_a_later_bundle_is_loaded_at_the_second_try(tmp_path: Path, node: str) -> None:
    modules = {
        "main.mjs": 'globalThis.load = () => import("./shown.mjs");\n',
        "shown.mjs": """import { quiet } from "./vendor/shout.mjs";
import loud from "./vendor/shout.mjs";
export const shown = loud(quiet);
""",
        "vendor/shout.mjs": "",
    }
    write(tmp_path, modules)
    bundles = join_modules(tmp_path, ("main.mjs", "shown.mjs"), "vendor/")
    write(tmp_path, {name: each.text for name, each in bundles.items()})
    (tmp_path / "vendor/shout.mjs").unlink()
    library = "export default (text) => text.toUpperCase();export const quiet = 'hey';"
    script = f"""import {{ writeFileSync }} from "node:fs";
await import("./bundle.mjs");
const tried = await load().then(() => "loaded", () => "failed");
writeFileSync(new URL("vendor/shout.mjs", import.meta.url), {library!r});
console.log(tried, (await load()).shown);
"""
    write(tmp_path, {"script.mjs": script})

    assert bundles["bundle-shown.mjs"].imports == ("vendor/shout.mjs",)
    assert run(tmp_path / "script.mjs", node) == "failed HEY\n"


def test_modules_that_several_later_ones_need_are_shared(tmp_path: Path) -> None:
    write(tmp_path, MODULES)
    bundles = join_modules(tmp_path, ("app/main.mjs",), "app/vendor/")

    assert list_modules(bundles["app/bundle-shared.mjs"]) == {"parts/both"}
    assert list_modules(bundles["app/bundle-parts-later.mjs"]) == {"parts/later"}


def test_a_module_of_a_later_one_that_is_loaded_for_itself_too_does_not_bring_that_one(
    tmp_path: Path,
) -> None:
    second_import = 'import("./parts/both.mjs").then(() => {});\n'
    write(tmp_path, MODULES | {"app/main.mjs": MODULES["app/main.mjs"] + second_import})
    bundles = join_modules(tmp_path, ("app/main.mjs",), "app/vendor/")

    assert list_modules(bundles["app/bundle-shared.mjs"]) == {"parts/both"}
    assert list_modules(bundles["app/bundle-parts-other.mjs"]) == {"parts/other"}


def list_modules(bundle: Bundle) -> set[str]:
    return set(re.findall(r"^const .* // app/(.*)\.mjs$", bundle.text, re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('import * as all from "./other.mjs";\n', "cannot be joined"),
        ("export default 4;\n", "cannot be joined"),
        ("export let changed = 4;\n", "cannot be joined"),
        ('export * from "./other.mjs";\n', "cannot be joined"),
        ('import { a } from "./circle.mjs";\n', "main.mjs -> circle.mjs -> main.mjs"),
        ('import { a as b } from "./other.mjs";\n', "other.mjs does not export a, which main.mjs"),
    ],
)
def test_modules_that_a_bundle_would_change_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    circle = 'import { b } from "./main.mjs";\nexport const a = 1;\n'
    write(tmp_path, {"main.mjs": text, "other.mjs": "\n", "circle.mjs": circle})

    with pytest.raises(ValueError, match=re.escape(reason)):
        join_modules(tmp_path, ("main.mjs",), "vendor/")


def test_an_address_beside_a_module_of_another_folder_is_refused(tmp_path: Path) -> None:
    beside = 'export const address = new URL("./it.svg", import.meta.url).href;\n'
    write(tmp_path, {"main.mjs": 'import "./parts/it.mjs";\n', "parts/it.mjs": beside})

    with pytest.raises(ValueError, match=r"parts/it\.mjs cannot be joined: import\.meta"):
        join_modules(tmp_path, ("main.mjs",), "vendor/")


def test_each_module_of_the_page_is_in_one_bundle() -> None:
    bundles = join_modules(STATIC, ENTRY_POINTS, LIBRARIES)
    begins = re.compile(r"^const \$\w+ = await \(async \(\) => \{ // (.*)$", re.MULTILINE)
    bundled_modules = [name for bundle in bundles.values() for name in begins.findall(bundle.text)]
    modules = [file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*.mjs")]

    assert sorted(bundled_modules) == sorted(
        name for name in modules if not name.startswith(LIBRARIES)
    )


def test_each_bundle_of_the_page_can_be_parsed(tmp_path: Path, node: str) -> None:
    bundles = join_modules(STATIC, ENTRY_POINTS, LIBRARIES)
    write(tmp_path, {name: bundle.text for name, bundle in bundles.items()})

    for name in bundles:
        completed = subprocess.run(
            [node, "--check", tmp_path / name], capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stderr


def size(names: Iterable[str]) -> int:
    """Return the size in bytes of these files as they are sent."""
    bundles = join_modules(STATIC, ENTRY_POINTS, LIBRARIES)
    texts = (
        bundles[name].text.encode() if name in bundles else (STATIC / name).read_bytes()
        for name in names
    )
    return sum(len(gzip.compress(text)) for text in texts)


def test_a_page_can_be_used_after_less_than_60_kilobytes_and_read_after_as_many_again() -> None:
    bundles = join_modules(STATIC, ENTRY_POINTS, LIBRARIES)
    first = {BUNDLE, *bundles[BUNDLE].imports}
    messages = {MESSAGES, *bundles[MESSAGES].imports} - first

    assert size(first) < 60_000
    assert size(messages) < 60_000
