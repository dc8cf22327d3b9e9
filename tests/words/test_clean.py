"""Whatever a model says, a terminal is only ever given text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.clean import Cleaner, clean

NASTY = st.sampled_from(
    [
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\x1b",
        "\x9b",
        "\x07",
        "\x00",
        "\x7f",
        "\u202e",
        "\U000e0041",
        "\ud800",
    ]
)
FOREIGN = st.lists(NASTY | st.text(max_size=5)).map("".join)


@given(st.lists(FOREIGN))
def test_pieces_joined_are_the_same_however_the_text_is_cut(pieces: list[str]) -> None:
    cleaner = Cleaner()

    assert "".join(cleaner.feed(piece) for piece in pieces) == clean("".join(pieces))


@given(FOREIGN)
def test_nothing_that_acts_on_a_terminal_gets_out(text: str) -> None:
    acting = [
        letter
        for letter in clean(text)
        if (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t")
        or unicodedata.bidirectional(letter)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or 0xE0000 <= ord(letter) <= 0xE007F
    ]

    assert acting == []


@given(FOREIGN)
def test_clean_text_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("\x1b[2Jgone", "\u241b[2Jgone"),
        ("\x1b]52;c;aGk=\x07", "\u241b]52;c;aGk=\u2407"),
        ("\x9b31mred", "<U+009B>31mred"),
        ("safe\u202efdp.exe", "safe<U+202E>fdp.exe"),
        ("hi\U000e0068", "hi<U+E0068>"),
        ("one\r\ntwo\rthree\n\rfour", "one\ntwo\nthree\n\nfour"),
        ("\tkept\n", "\tkept\n"),
        ("\x7f\x08", "\u2421\u2408"),
        ("half \ud83d", "half \ufffd"),
        (
            "\U0001f469\u200d\U0001f680 \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\U0001f469\u200d\U0001f680 \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_what_would_act_is_shown(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


def test_ordinary_text_passes_untouched() -> None:
    text = "Grüße, 東京, مرحبا, \U0001f600 – 1 < 2"

    assert clean(text) == text
