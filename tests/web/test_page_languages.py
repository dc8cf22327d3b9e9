"""The words of the page: the same ones in each language, and all that its modules ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = Path(str(files("antiphon.web"))) / "static" / "chat"
TABLES = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((PAGE / "i18n").glob("*.json"))
}
OTHER_LANGUAGES = sorted(set(TABLES) - {"en"})
REQUEST = re.compile(
    r"""\b(?P<how>t|tCount|hasMessage)\(\s*(?P<quote>["'`])(?P<name>[^"'`]*)(?P=quote)"""
)
PLACEHOLDER = re.compile(r"\{\w+\}")
TEMPLATE_EXPRESSION = re.compile(r"\$\{[^}]*\}")


def modules() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each module of the page that is no library."""
    for file in sorted(PAGE.rglob("*.mjs")):
        if "vendor" not in file.parts:
            yield file.relative_to(PAGE).as_posix(), file.read_text(encoding="utf-8")


def list_used_names() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield a place and a pattern of each name that a module asks for.

    A name with an expression in it asks for several.
    """
    for module, text in modules():
        if module == "t.mjs":
            continue
        for request in REQUEST.finditer(text):
            parts = map(re.escape, TEMPLATE_EXPRESSION.split(request["name"]))
            ending = r"\.(one|other)" if request["how"] == "tCount" else ""
            yield f"{module}: {request['name']}", re.compile("[a-z0-9_.]+".join(parts) + ending)


def test_there_are_three_languages() -> None:
    assert set(TABLES) == {"en", "de", "es"}


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_a_language_says_what_english_says(language: str) -> None:
    assert set(TABLES[language]) ^ set(TABLES["en"]) == set()


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_a_language_fills_in_what_english_fills_in(language: str) -> None:
    different_names = {
        name: PLACEHOLDER.findall(text)
        for name, text in TABLES["en"].items()
        if sorted(PLACEHOLDER.findall(text))
        != sorted(PLACEHOLDER.findall(TABLES[language].get(name, "")))
    }

    assert different_names == {}


@pytest.mark.parametrize("language", TABLES)
def test_a_table_is_sorted_and_says_something_everywhere(language: str) -> None:
    table = TABLES[language]

    assert list(table) == sorted(table)
    assert [name for name, text in table.items() if not text.strip()] == []


def test_every_word_that_is_asked_for_is_there() -> None:
    missing = [
        place
        for place, pattern in list_used_names()
        if not any(map(pattern.fullmatch, TABLES["en"]))
    ]

    assert missing == []


def test_every_word_that_is_there_is_asked_for() -> None:
    patterns = [pattern for _, pattern in list_used_names()]
    module_text = "\n".join(text for _, text in modules())
    unused_names = [
        name
        for name in TABLES["en"]
        if not any(pattern.fullmatch(name) for pattern in patterns)
        and f'"{name}"' not in module_text
    ]

    assert unused_names == []


@pytest.mark.parametrize("language", ["de", "es"])
def test_no_word_was_forgotten_in_english(language: str) -> None:
    """Compare texts of two words or more: `Chat` may be the same everywhere."""
    untranslated = [
        name
        for name, text in TABLES["en"].items()
        if text == TABLES[language].get(name)
        and len(re.findall(r"[a-z]{3,}", PLACEHOLDER.sub("", text))) > 1
    ]

    assert untranslated == []


def test_reasons_of_mcp_servers_that_are_translated_are_those_that_occur() -> None:
    sources = "".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8"))
        for file in sorted(Path(str(files("antiphon.mcp"))).rglob("*.py"))
    )
    sentences = {
        name: text
        for name, text in TABLES["en"].items()
        if name.startswith("servers.reason_") and name != "servers.reason_other"
    }
    pieces = [
        (name, piece)
        for name, text in sentences.items()
        for piece in map(str.rstrip, PLACEHOLDER.split(text))
        if piece
    ]

    assert [each for each in pieces if each[1] not in sources] == []
