"""The tests are one package laid out as its page says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.docs.blocks import ROOT

TESTS = ROOT / "tests"
OURS = [file for file in sorted(TESTS.rglob("*.py")) if "node_modules" not in file.parts]


def imports() -> Iterator[tuple[str, str]]:
    """Each file, and each module that it imports."""
    for file in OURS:
        for node in _statements(ast.parse(file.read_text("utf-8")).body):
            if isinstance(node, ast.ImportFrom):
                name = str(file.relative_to(TESTS))
                yield name, node.module or ""
                yield from ((name, f"{node.module}.{alias.name}") for alias in node.names)


def _statements(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """Each statement, also within others: expressions, of which there are ten times as many, import
    nothing.
    """
    for node in nodes:
        yield node
        for blocks in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, blocks, []))


def test_no_test_module_imports_another() -> None:
    found = [pair for pair in imports() if re.fullmatch(r"tests\..*\btest_\w+", pair[1])]

    assert found == []


def test_the_page_names_every_folder() -> None:
    page = (TESTS / "README.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", page))

    folders = {file.parent.name for file in TESTS.glob("*/*.py")}
    assert folders <= named
