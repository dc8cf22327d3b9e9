"""The tests are one package laid out as its page says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.docs.blocks import ROOT

TESTS = ROOT / "tests"
TEST_FILES = [file for file in sorted(TESTS.rglob("*.py")) if "node_modules" not in file.parts]


IMPORT = re.compile(r"^\s*from\s+(tests[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)


def find_imports() -> Iterator[tuple[str, str]]:
    """Yield the name of each file with each module of the tests that it imports.

    Files are searched, not parsed: there are 700, and a parser takes three seconds for them.
    """
    for file in TEST_FILES:
        for module, names in IMPORT.findall(file.read_text("utf-8")):
            name = str(file.relative_to(TESTS))
            yield name, module
            yield from ((name, f"{module}.{each}") for each in re.findall(r"\w+", names))


def test_no_test_module_imports_another() -> None:
    imports_of_tests = [
        pair for pair in find_imports() if re.fullmatch(r"tests\..*\btest_\w+", pair[1])
    ]

    assert imports_of_tests == []


def test_the_page_names_every_folder() -> None:
    page = (TESTS / "README.md").read_text("utf-8")
    names = set(re.findall(r"`(\w+)`", page))

    folders = {file.parent.name for file in TESTS.glob("*/*.py")}
    assert folders <= names
