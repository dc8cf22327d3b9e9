"""The page of the public API names what is there."""

from __future__ import annotations

import importlib
import re

from tests.support.docs.blocks import ROOT


def test_every_logger_is_among_those_of_the_page() -> None:
    page = (ROOT / "docs/reference/public-api.md").read_text()
    listed = set(re.findall(r"`(antiphon\.[a-z]+)`", page.partition("## Loggers")[2]))
    used = {
        ".".join(file.relative_to(ROOT / "src").with_suffix("").parts[:2])
        for file in (ROOT / "src/antiphon").rglob("*.py")
        if re.search(r"getLogger\((__name__|\"antiphon\.)", file.read_text())
    }

    assert used == listed


def test_the_public_modules_are_there() -> None:
    page = (ROOT / "docs/reference/public-api.md").read_text()
    section = page.partition("## Modules")[2].partition("## Loggers")[0]
    named = re.findall(r"(?m)^\| `(antiphon\.[a-z_.]+)`", section)

    assert len(named) > 5
    for name in named:
        package, _, last = name.partition(".")
        if not hasattr(importlib.import_module(package), last):
            importlib.import_module(name)
