"""The page hides no character that the terminal reveals."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import antiphon.web
from antiphon.clean import Place, clean

HIDDEN = Path(antiphon.web.__file__).parent / "static" / "chat" / "hidden.mjs"
LOOKED_AT = [*range(0xD800), *range(0xE000, 0x11000), *range(0xE0000, 0xE1000)]
"""Without lone surrogates, which no JSON brings here; what lies between are letters."""


@pytest.mark.parametrize(("place", "judged"), [("notice", False), ("approval", True)])
def test_what_the_terminal_reveals_the_page_reveals(place: Place, judged: bool, node: Path) -> None:
    program = f"""
        const {{ revealed }} = await import({json.dumps(HIDDEN.as_uri())});
        const shown = (code) => {{
          const character = String.fromCodePoint(code);
          const pieces = revealed(character, {json.dumps(judged)});
          return pieces.map((piece) => piece.text).join("") === character;
        }};
        console.log(JSON.stringify({LOOKED_AT}.filter((code) => !shown(code))));
    """
    done = subprocess.run(
        [node, "--input-type=module"], input=program, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [code for code in LOOKED_AT if _acts(chr(code), place)]


def _acts(character: str, place: Place) -> bool:
    return clean(character, place) != character
