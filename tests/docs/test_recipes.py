"""The page of recipes leads to code to paste, and what it says about trials is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.docs.blocks import ROOT, Block, blocks

PAGE = ROOT / "docs/how-to/recipes.md"
MOST_LINES = 20
ROW = re.compile(
    r"^\| \[(?P<name>[^|]+?)\]\((?P<target>[^)]+)\)[^|]*\| (?P<trial>[^|]+) \|$", re.MULTILINE
)
OWN_COMMAND = {"install.md#from-a-wheel", "../contributing/documentation.md"}
"""Recipes that a test runs in another form: from the wheel that it built, into its own folder."""


def list_rows() -> dict[str, tuple[str, str]]:
    """Return the target and the trial of each recipe, by its name."""
    rows = {row["name"]: (row["target"], row["trial"]) for row in ROW.finditer(PAGE.read_text())}
    assert len(rows) > 30
    return rows


def find_section(target: str) -> list[Block]:
    """Return the blocks of a link's section; without an anchor, those of the page."""
    name, _, anchor = target.partition("#")
    page = (PAGE.parent / name).resolve() if name else PAGE
    text = page.read_text("utf-8")
    if not anchor:
        return list(blocks(page))
    lines = text.splitlines()
    headings = [number for number, line in enumerate(lines, 1) if line.startswith("#")]
    (start,) = [number for number in headings if make_anchor(lines[number - 1]) == anchor]
    level = lines[start - 1].partition(" ")[0]
    following = [
        n for n in headings if n > start and len(lines[n - 1].partition(" ")[0]) <= len(level)
    ]
    end = min(following, default=len(lines) + 1)
    return [block for block in blocks(page) if start < block.line < end]


def make_anchor(heading: str) -> str:
    """Return the anchor of a heading, as forges make it."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


ROWS = list_rows()


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_is_short_and_its_trial_is_named(name: str) -> None:
    target, trial = ROWS[name]
    section_blocks = find_section(target)
    short_blocks = [block for block in section_blocks if count_lines(block) <= MOST_LINES]
    test_link = re.search(r"\]\((\.\./\.\./tests/[^)]+)\)", trial)

    assert short_blocks or target in OWN_COMMAND or "#" not in target, f"no code at {target}"
    if test_link is None:
        assert re.search(r"not tried|by hand, \w+ 20\d\d", trial), trial
        return
    assert (PAGE.parent / test_link[1]).resolve().is_file(), trial
    if "not tried" not in trial and target not in OWN_COMMAND:
        assert [block for block in short_blocks if block.purpose], (
            f"nothing at {target} runs in tests"
        )


def count_lines(block: Block) -> int:
    """Return the number of lines that are not blank."""
    return sum(bool(line.strip()) for line in block.text.splitlines())


def test_every_chat_of_the_page_and_every_marked_server_is_in_the_list() -> None:
    targets = {target for target, _ in ROWS.values()}
    pages: dict[Path, str] = {PAGE: "", PAGE.parent / "mcp-recipes.md": "mcp-recipes.md"}
    for page, name in pages.items():
        headings = re.findall(r"(?m)^## (.+)$", page.read_text("utf-8"))
        for heading in headings:
            if heading != "Not tried":
                assert f"{name}#{make_anchor(heading)}" in targets
