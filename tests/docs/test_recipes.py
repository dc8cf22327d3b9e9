"""The page of recipes leads to code that can be pasted, and says truly how it was tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.docs.blocks import ROOT, Block, blocks

PAGE = ROOT / "docs/how-to/recipes.md"
MOST_LINES = 20
ROW = re.compile(
    r"^\| \[(?P<name>[^|]+?)\]\((?P<target>[^)]+)\)[^|]*\| (?P<tried>[^|]+) \|$", re.MULTILINE
)
OWN_COMMAND = {"install.md#from-a-wheel", "../contributing/documentation.md"}
"""Recipes that a test runs in another form: from the wheel that it built, into its own folder."""


def list_rows() -> dict[str, tuple[str, str]]:
    """Target and trial of each recipe, by its name."""
    rows = {row["name"]: (row["target"], row["tried"]) for row in ROW.finditer(PAGE.read_text())}
    assert len(rows) > 30
    return rows


def find_section(target: str) -> list[Block]:
    """The blocks of the section that a link leads to; without an anchor, those of the page."""
    name, _, anchor = target.partition("#")
    page = (PAGE.parent / name).resolve() if name else PAGE
    text = page.read_text("utf-8")
    if not anchor:
        return list(blocks(page))
    lines = text.splitlines()
    headings = [number for number, line in enumerate(lines, 1) if line.startswith("#")]
    (start,) = [number for number in headings if slug(lines[number - 1]) == anchor]
    level = lines[start - 1].partition(" ")[0]
    later = [n for n in headings if n > start and len(lines[n - 1].partition(" ")[0]) <= len(level)]
    end = min(later, default=len(lines) + 1)
    return [block for block in blocks(page) if start < block.line < end]


def slug(heading: str) -> str:
    """The anchor of a heading, as forges make it."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


ROWS = list_rows()


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_is_short_and_its_trial_is_named(name: str) -> None:
    target, tried = ROWS[name]
    found = find_section(target)
    short = [block for block in found if count_lines(block) <= MOST_LINES]
    tests = re.search(r"\]\((\.\./\.\./tests/[^)]+)\)", tried)

    assert short or target in OWN_COMMAND or "#" not in target, f"no code at {target}"
    if tests is None:
        assert re.search(r"not tried|by hand, \w+ 20\d\d", tried), tried
        return
    assert (PAGE.parent / tests[1]).resolve().is_file(), tried
    if "not tried" not in tried and target not in OWN_COMMAND:
        assert [block for block in short if block.purpose], f"nothing at {target} runs in tests"


def count_lines(block: Block) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in block.text.splitlines())


def test_every_chat_of_the_page_and_every_marked_server_is_in_the_list() -> None:
    linked = {target for target, _ in ROWS.values()}
    pages: dict[Path, str] = {PAGE: "", PAGE.parent / "mcp-recipes.md": "mcp-recipes.md"}
    for page, name in pages.items():
        headings = re.findall(r"(?m)^## (.+)$", page.read_text("utf-8"))
        for heading in headings:
            if heading != "Not tried":
                assert f"{name}#{slug(heading)}" in linked
