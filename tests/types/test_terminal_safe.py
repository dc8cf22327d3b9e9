"""Only text reaches a terminal, whatever a model writes."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.types.terminal_safe import LONGEST_SEQUENCE, Cleaner, Place, clean
from tests.support.unicode_data import default_ignorable

PLACES_ON_SCREEN: tuple[Place, ...] = ("notice", "prose", "code", "approval")
PLACES: tuple[Place, ...] = (*PLACES_ON_SCREEN, "source")

HOSTILE_PIECES = st.sampled_from(
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
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1bP1$q",
        "\x9d52;c;aGk=\x9c",
        "\x1b(",
        "\x90",
        "\x1b[",
        "\x1b]",
        "\u200d",
    ]
)
FOREIGN = st.lists(HOSTILE_PIECES | st.text(max_size=5)).map("".join)


@given(st.lists(FOREIGN), st.sampled_from(PLACES))
@example(["\r", "", "\n"], "notice")
def test_pieces_joined_are_the_same_however_the_text_is_cut(
    pieces: list[str], place: Place
) -> None:
    cleaner = Cleaner(place)

    joined_pieces = "".join(cleaner.feed(piece) for piece in pieces) + cleaner.close()

    assert joined_pieces == clean("".join(pieces), place)


@given(FOREIGN, st.sampled_from(PLACES_ON_SCREEN))
def test_nothing_that_acts_on_a_terminal_gets_out(text: str, place: Place) -> None:
    active_characters = [
        letter
        for letter in clean(text, place)
        if (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t")
        or unicodedata.bidirectional(letter)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or 0xE0000 <= ord(letter) <= 0xE007F
    ]

    assert active_characters == []


@given(FOREIGN, st.sampled_from(PLACES))
def test_clean_text_stays_as_it_is(text: str, place: Place) -> None:
    assert clean(clean(text, place), place) == clean(text, place)


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J",
        "\x9b31m",
        "\x1b[?1049h",
        "\x1b[5;10r",
        "\x1b]0;title\x07",
        "\x1b]52;c;aGk=\x1b\\",
        "\x9d8;;http://x\x9c",
        "\x1bP$q\x1b\\",
        "\x1b_G\nwhole lines\n\x1b\\",
        "\x1bc",
        "\x1b(B",
        "\x1b#8",
    ],
)
def test_whole_sequences_are_left_out_of_prose_and_code_and_shown_in_approvals(sequence: str):
    text = f"be{sequence}fore"

    assert clean(text, "prose") == clean(text, "code") == "before"
    assert clean(text, "approval").startswith(("be\u241b", "be<U+"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("notice", "a<U+202E>b<U+E0041>c\u200dd"),
        ("prose", "abc\u200dd"),
        ("code", "a<U+202E>bc\u200dd"),
        ("source", "a\u202ebc\u200dd"),
        ("approval", "a<U+202E>b<U+E0041>c<U+200D>d"),
    ],
)
def test_what_turns_or_hides_text_is_treated_as_its_place_asks(place: Place, expected: str):
    assert clean("a\u202eb\U000e0041c\u200dd", place) == expected


def test_a_sequence_without_an_end_is_shown_once_it_is_too_long_to_be_one():
    cleaner = Cleaner("prose")

    first = cleaner.feed("\x1b]" + "x" * LONGEST_SEQUENCE)
    second = cleaner.feed("x")

    assert first == ""
    assert second == "\u241b]" + "x" * (LONGEST_SEQUENCE + 1)


def test_what_is_held_back_at_the_end_is_shown():
    cleaner = Cleaner("prose")

    assert cleaner.feed("end \x1b[3") == "end "
    assert cleaner.close() == "\u241b[3"


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_what_would_act_is_shown(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_ordinary_text_passes_untouched() -> None:
    text = "Grüße, 東京, مرحبا, \U0001f600 – 1 < 2"

    assert clean(text) == text


VISIBLE_FORMATS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Format characters that are drawn: Unicode's `Prepended_Concatenation_Mark`, and one of Syriac."""


def test_an_approval_spells_out_all_that_unicode_says_is_not_drawn() -> None:
    ignorable = default_ignorable()
    expected = "".join(f"<U+{code:04X}>" for code in ignorable)

    assert len(ignorable) == 4174  # the total that the file itself states
    assert clean("".join(map(chr, ignorable)), "approval") == expected


def test_an_approval_spells_out_every_format_character_that_is_not_drawn() -> None:
    formats = [code for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]

    assert {
        code for code in formats if clean(chr(code), "approval") == chr(code)
    } <= VISIBLE_FORMATS


def test_reserved_code_points_that_are_not_drawn_are_shown_in_a_notice_and_left_out_of_prose():
    hidden = "a\U000e0080\U000e01f0\ufff3b"

    assert clean(hidden) == "a<U+E0080><U+E01F0><U+FFF3>b"
    assert clean(hidden, "prose") == clean(hidden, "code") == "ab"
