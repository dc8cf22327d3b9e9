"""Long pasted texts are marks in the line, and whole in the message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal.input.pasted_texts import CHARACTERS, KEPT, LINES, PastedTexts


@given(st.lists(st.text(alphabet="ab \n[]pasted1:", max_size=60), max_size=6))
def test_a_line_unfolds_to_what_was_pasted(texts: list[str]) -> None:
    pasted_texts = PastedTexts()
    long_texts = [f"{text}{'-' * CHARACTERS}." for text in texts]

    line = " and ".join(map(pasted_texts.fold, long_texts))

    assert len(line) < 60 * (len(long_texts) + 1)
    assert pasted_texts.unfold(line) == " and ".join(long_texts)


def test_a_short_text_stays_and_a_mark_that_stands_for_none_too() -> None:
    pasted_texts = PastedTexts()
    short_text = "\n".join(["line"] * LINES)

    assert pasted_texts.fold(short_text) == short_text
    assert pasted_texts.fold(f"{short_text}\nline") == f"[pasted 1: {LINES + 1} lines]"
    assert pasted_texts.unfold("[pasted 2: 9 lines]") == "[pasted 2: 9 lines]"


def test_only_the_last_texts_are_kept() -> None:
    pasted_texts = PastedTexts()
    marks = [pasted_texts.fold(f"{number}{'-' * CHARACTERS}") for number in range(KEPT + 1)]

    assert pasted_texts.unfold(marks[0]) == marks[0]
    assert pasted_texts.unfold(marks[1]).startswith("1-")
