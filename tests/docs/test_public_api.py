"""The page of the public API names the modules, options and loggers that exist."""

from __future__ import annotations

import importlib
import re
from typing import get_type_hints

import antiphon
from antiphon.api.operations import Options, Process
from tests.support.docs.blocks import ROOT, every


def test_every_logger_is_among_those_of_the_page() -> None:
    page = (ROOT / "docs/reference/public-api.md").read_text()
    documented = set(re.findall(r"`(antiphon\.[a-z]+)`", page.partition("## Loggers")[2]))
    loggers = {
        ".".join(file.relative_to(ROOT / "src").with_suffix("").parts[:2])
        for file in (ROOT / "src/antiphon").rglob("*.py")
        if re.search(r"getLogger\((__name__|\"antiphon\.)", file.read_text())
    }

    assert loggers == documented


def test_the_public_modules_are_there() -> None:
    page = (ROOT / "docs/reference/public-api.md").read_text()
    section = page.partition("## Modules")[2].partition("## Loggers")[0]
    modules = re.findall(r"(?m)^\| `(antiphon\.[a-z_.]+)`", section)

    assert len(modules) > 5
    for name in modules:
        package, _, last = name.partition(".")
        if not hasattr(importlib.import_module(package), last):
            importlib.import_module(name)


def test_every_public_name_and_method_has_an_example_that_runs() -> None:
    examples = [block.text for block in every("python", "run")]
    examples += [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    text = "\n".join(examples)
    names = [rf"\b{name}\b" for name in dir(antiphon) if not name.startswith("_")]
    reference = (ROOT / "docs/reference/sdk.md").read_text()
    documented = re.findall(r"(?m)^(?:### |\| )`(\w+)\(", reference)
    methods = [rf"\.{name}\b" for name in documented]

    assert len(names) > 60
    assert len(methods) > 70
    assert [each for each in (*names, *methods) if not re.search(each, text)] == []


def test_every_option_of_a_run_is_in_the_reference_and_is_a_field_of_process() -> None:
    page = (ROOT / "docs/reference/sdk.md").read_text()
    section = page.partition("## Options of a run")[2].partition("\n## ")[0]
    options = set(get_type_hints(Options))
    set_by_converse = {"background", "message", "run_id", "tools"}

    assert set(re.findall(r"(?m)^\| `(\w+)` \|", section)) == options
    assert set(Process.__struct_fields__) - set_by_converse == options
