"""The files, examples and names that the pages for contributors give are in the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/contributing"
INDEX = FOLDER / "README.md"
PAGES = sorted(FOLDER.glob("*.md"))
CHANGES = ("run-field", "thread-field", "provider", "store", "operation", "client", "setting")
CHANGES += ("slash-command", "web-panel", "wire", "event", "mcp", "command", "bus")
"""The pages that show a kind of change."""
CODE = ("src/antiphon", "src/antiphon/web/static/chat", "src", ".")
"""Folders that hold the files a page names."""

_FENCE = re.compile(r"^```\w+\n(?:#|//|--) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(
    r"`(_[A-Za-z0-9_]+|[A-Za-z_][A-Za-z0-9]*(?:_[A-Za-z0-9]*)+|[A-Z][a-z]+[A-Z]\w*)`"
)
_PLACEHOLDER = re.compile(r"\.\.\.|_X\.|NAME")
_PATH = re.compile(r"`([\w.-]+/[\w./-]+\.\w+)`")


def get_stem(page: Path) -> str:
    return page.stem


def find_file(name: str) -> Path | None:
    places = (ROOT / folder / name for folder in CODE)
    return next((place for place in places if place.exists()), None)


@pytest.fixture(scope="module")
def words() -> frozenset[str]:
    """Return all words of the code."""
    files = [
        file
        for folder in ("src", "tests", "scripts", "docs")
        for file in (ROOT / folder).rglob("*.*")
        if file.suffix in {".py", ".mjs"}
    ]
    return frozenset(re.findall(r"\w+", "\n".join(file.read_text("utf-8") for file in files)))


def read_prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def find_examples(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the file of each code block, from its first line, and its other lines, stripped."""
    for file, text in _FENCE.findall(page.read_text("utf-8")):
        yield file, [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=get_stem)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    names = [name for name in _PATH.findall(read_prose(page)) if not _PLACEHOLDER.search(name)]
    missing = [name for name in names if find_file(name) is None]

    assert not missing, f"{page.name} names files that are not there"


@pytest.mark.parametrize("page", PAGES, ids=get_stem)
def test_every_name_that_a_page_gives_is_in_the_code(page: Path, words: frozenset[str]) -> None:
    unknown = [name for name in _NAME.findall(read_prose(page)) if name not in words]

    assert not unknown, f"{page.name} names what no file has"


@pytest.mark.parametrize("name", CHANGES)
def test_every_line_of_an_example_is_in_its_file(name: str) -> None:
    """The lines of a block follow each other in the file, perhaps with others between them."""
    examples = list(find_examples(FOLDER / f"{name}.md"))

    assert examples
    for file, lines in examples:
        path = find_file(file)
        assert path is not None, file
        rest = iter(line.strip() for line in path.read_text("utf-8").splitlines())
        missing = next((line for line in lines if line not in rest), None)
        assert missing is None, f"{name}.md: not in {file}, or not in this order: {missing}"


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_of_a_change_has_an_example_and_names_its_tests(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text("utf-8")

    assert re.search(r"^## Example: ", text, re.MULTILINE)
    assert "](../../tests/" in text.partition("\n## Tests\n")[2]


def find_rows(text: str) -> list[tuple[str, str]]:
    """Return the page and the first file of each row of the table."""
    return re.findall(
        r"^\| .* \| \[[^\]]+\]\((\S+\.md)\) \| \[`[^`]+`\]\((\S+)\) \|$", text, re.MULTILINE
    )


def test_the_table_of_changes_leads_to_every_page_and_its_first_file() -> None:
    rows = find_rows(INDEX.read_text("utf-8"))

    assert {Path(page).stem for page, _ in rows} == {*CHANGES, "documentation"}
    for page, file in rows:
        assert file in re.findall(r"\]\(([^)]+)\)", (FOLDER / page).read_text("utf-8")), page


def test_the_guide_has_the_same_table() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    expected_rows = [
        (f"docs/contributing/{page}", (FOLDER / file).resolve())
        for page, file in find_rows(INDEX.read_text("utf-8"))
    ]

    assert [(page, (ROOT / file).resolve()) for page, file in find_rows(guide)] == expected_rows
