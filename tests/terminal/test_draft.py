"""Typed text is shown unchanged, with the cursor in its place."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal import spans
from antiphon.terminal.input.editor import draft_rows
from antiphon.terminal.painters import Frame, Region
from antiphon.terminal.themes import THEMES, Ink
from tests.support.terminal.emulator import Emulator

drafts = st.text(alphabet="ab \n東é🙂", max_size=60)


@given(drafts, st.integers(0, 60), st.integers(5, 40))
def test_all_of_a_draft_is_there_and_fits(text: str, at: int, columns: int):
    drawn = draft_rows(text, min(at, len(text)), columns, most=1_000)

    drawn_text = "".join(spans.text(row)[2:] for row in drawn.rows)
    assert drawn_text == text.replace("\n", "")
    assert all(spans.line_width(row) < columns for row in drawn.rows)


@given(drafts, st.integers(0, 60), st.integers(5, 40), st.integers(1, 8))
def test_the_row_of_the_cursor_is_always_seen(text: str, at: int, columns: int, most: int):
    drawn = draft_rows(text, min(at, len(text)), columns, most=most)

    assert drawn.cursor is not None
    row, column = drawn.cursor
    assert 0 <= row < len(drawn.rows) <= most
    assert 2 <= column < columns


@pytest.mark.parametrize(
    ("text", "at", "rows", "cursor"),
    [
        ("", 0, ["> "], (0, 2)),
        ("one", 1, ["> one"], (0, 3)),
        ("one\ntwo", 4, ["> one", "  two"], (1, 2)),
        ("abcdefgh", 8, ["> abcdefg", "  h"], (1, 3)),
        ("abcdefg", 7, ["> abcdefg", "  "], (1, 2)),
        ("東京大阪", 3, ["> 東京大", "  阪"], (0, 8)),
        ("\x1b[2J", 0, ["> \u241b[2J"], (0, 2)),
    ],
)
def test_rows_are_folded_by_cells(text: str, at: int, rows: list[str], cursor: tuple[int, int]):
    drawn = draft_rows(text, at, 10)

    assert [spans.text(row) for row in drawn.rows] == rows
    assert drawn.cursor == cursor


def test_a_draft_is_drawn_with_the_region_by_one_hand():
    emulator = Emulator(10, 8)
    region = Region(emulator, Ink(THEMES["none"]))

    region.paint(Frame(), draft_rows("abcdefghi", 8, 10), 10, 0)

    assert emulator.rows == ["> abcdefg", "  hi"]
    assert (emulator.screen.cursor.y, emulator.screen.cursor.x) == (1, 3)


def test_of_a_pasted_book_as_much_is_looked_at_as_can_be_seen() -> None:
    book = "".join(f"line {number}\n" for number in range(1_000_000))
    at = book.index("line 500000\n")
    start = time.process_time()
    rows = [spans.text(row).strip() for row in draft_rows(book, at, 80).rows]

    assert rows == [f"line {number}" for number in range(499_993, 500_001)]
    assert time.process_time() - start < 1
