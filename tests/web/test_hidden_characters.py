"""The page hides no character that the terminal reveals."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import antiphon.web
from antiphon.types.terminal_safe import Place, clean
from tests.support.unicode_data import default_ignorable

MODULE = Path(antiphon.web.__file__).parent / "static" / "chat" / "hidden_characters.mjs"
TAGS = range(0xE0000, 0xE0080)
"""Invisible letters: the page shows the text that they spell instead of naming each."""
ALL_CODES = [*range(0xD800), *range(0xE000, 0x110000)]
"""All code points but lone surrogates, which JSON does not carry."""


@pytest.mark.parametrize(("place", "is_judged"), [("notice", False), ("approval", True)])
def test_what_the_terminal_reveals_the_page_reveals(
    place: Place, is_judged: bool, node: Path
) -> None:
    program = f"""
        const {{ revealPieces }} = await import({json.dumps(MODULE.as_uri())});
        const isShown = (code) => {{
          const character = String.fromCodePoint(code);
          const pieces = revealPieces(character, {json.dumps(is_judged)});
          return pieces.map((piece) => piece.text).join("") === character;
        }};
        const hidden = [];
        for (let code = 0; code < 0x110000; code += 1)
          if ((code < 0xd800 || code >= 0xe000) && !isShown(code)) hidden.push(code);
        console.log(JSON.stringify(hidden));
    """

    assert _run_program(node, program) == [
        code for code in ALL_CODES if _is_revealed(chr(code), place)
    ]


def test_the_page_spells_out_all_that_unicode_says_is_not_drawn_where_a_person_decides(
    node: Path,
) -> None:
    ignorable = default_ignorable()
    program = f"""
        const {{ revealText }} = await import({json.dumps(MODULE.as_uri())});
        const codes = {json.dumps(ignorable)};
        const passes = codes.filter((code) =>
          revealText(`a${{String.fromCodePoint(code)}}b`, true).length <= 3);
        const known = [];
        for (let code = 0; code < 0x110000; code += 1)
          if (/\\p{{Default_Ignorable_Code_Point}}/u.test(String.fromCodePoint(code)))
            known.push(code);
        console.log(JSON.stringify({{ passes, known }}));
    """
    report = _run_program(node, program)

    assert not set(ignorable) - set(report["known"])  # it is the same property
    assert [code for code in report["passes"] if code not in TAGS] == []


def test_arguments_that_are_edited_in_the_page_have_nothing_hidden_in_them(node: Path) -> None:
    module = json.dumps((MODULE.parent / "json.mjs").as_uri())
    program = f"""
        const {{ layOutForEditor }} = await import({module});
        const text = String.fromCodePoint(...{json.dumps(default_ignorable())});
        const edited = layOutForEditor(JSON.stringify({{ text }}));
        console.log(JSON.stringify([edited, JSON.parse(edited).text === text]));
    """
    edited_text, same = _run_program(node, program)

    assert same
    assert clean(edited_text, "approval") == edited_text


def _run_program(node: Path, program: str) -> Any:
    """Run the program; return the JSON that it prints."""
    completed = subprocess.run(
        [node, "--input-type=module"], input=program, capture_output=True, text=True, check=True
    )
    return json.loads(completed.stdout)


def _is_revealed(character: str, place: Place) -> bool:
    return clean(character, place) != character
