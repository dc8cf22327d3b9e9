"""The rest of an answer that was cut, joined to it: nothing is said twice, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.seam import Seam, find_quoted_words, make_rest_prompt


def rest_of(cut: str, *pieces: str) -> str:
    seam = Seam(cut)
    return "".join([*map(seam.feed, pieces), seam.close()])


CUT = "The tide is a wave that is as long as the sea.\n\n- Twice a day it com"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("- Twice a day it comes in.", "es in."),
        ("is as long as the sea.\n- Twice a day it comes in.", "es in."),
        ("Twice a  day it com", ""),
        ("es in.", "es in."),
        ("The tide is high.", "The tide is high."),
        ("Twice a day", "Twice a day"),
        ("", ""),
    ],
    ids=["last words", "more of them", "nothing new", "no words", "a new start", "a part", "none"],
)
def test_what_is_repeated_of_the_end_is_left_out(text: str, rest: str) -> None:
    assert rest_of(CUT, text) == rest
    assert rest_of(CUT, *text) == rest


def test_blanks_at_the_cut_are_there_once() -> None:
    assert rest_of("One, two, three, four, ", "three, four, five") == "five"
    assert rest_of("One, two, three, four,", "three, four, five") == " five"


def test_lines_that_are_alike_are_not_taken_for_the_repetition() -> None:
    line = "| a row of a table that has the same values in each line | 0 | 0 | 0 | 0 | 0 |\n"
    cut = line * 5
    last_words = find_quoted_words(make_rest_prompt(cut))

    assert rest_of(cut, f"{last_words}\n", line * 3) == line * 3


def test_a_few_equal_letters_are_no_repetition() -> None:
    assert rest_of("It was a banana", "na") == "na"


def test_what_cannot_be_a_repetition_comes_at_once() -> None:
    seam = Seam(CUT)

    assert seam.feed("Tw") == ""
    assert seam.feed("o") == "Two"
    assert seam.feed("Twice a day it com") == "Twice a day it com"


@given(st.text(), st.lists(st.text()))
def test_of_any_rest_only_a_repetition_is_missing(cut: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    remaining = rest_of(cut, *pieces)

    assert text.endswith(remaining)
    missing = "".join(text[: len(text) - len(remaining)].split())
    assert "".join(cut.split()).endswith(missing)


@given(st.text(min_size=40), st.text(alphabet="xyz"), st.integers(20, 40))
def test_any_repetition_of_the_end_is_left_out(cut: str, rest: str, length: int) -> None:
    cut = f"{cut}The end of it is here"

    assert rest_of(cut, cut[-length:] + rest) == rest


def test_a_model_is_shown_whole_words() -> None:
    prompt = make_rest_prompt("word " * 100 + "half a wo")

    assert "<last_words>word word" in prompt
    assert "half a wo</last_words>" in prompt
