"""The screen shows each finished line once, however it was cut, and gets nothing but our bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.terminal.compact_streaming_display import CompactStreamingDisplay
from antiphon.terminal.painters import Frame, InputRows, Region
from antiphon.terminal.spans import StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import THEMES, Ink
from antiphon.types.events import RunStatus, TextDelta
from antiphon.types.runs import Status
from tests.support.terminal.emulator import ALLOWED, Emulator
from tests.support.terminal.markdown_documents import cut_documents

DARK = THEMES["dark"]
PROMPT = InputRows(rows=((StyledText("> draft"),),), cursor=(0, 7))


def run_ended() -> RunStatus:
    return RunStatus(run_id="run_1", thread_id="thread_1", status=Status.COMPLETED)


def paint_at_once(text: str, columns: int, rows: int = 24) -> list[str]:
    display, emulator, ink = CompactStreamingDisplay(DARK), Emulator(columns, rows), Ink(DARK)
    for line in display.feed(text, columns - 1) + display.close(columns - 1):
        emulator.write(f"{ink.render(line)}\r\n")
    return emulator.rows


def paint_pieces(pieces: list[str], emulator: Emulator, columns: int, rows: int = 24) -> list[str]:
    """Paint each piece in turn; return the rows once the prompt is gone."""
    handler, region = StreamingResponseHandler(DARK), Region(emulator, Ink(DARK), reflows=False)
    for now, piece in enumerate(pieces):
        handler.handle_event(TextDelta(text=piece), now)
        region.paint(handler.frame(columns, rows, now), PROMPT, columns, now)
    handler.handle_event(run_ended(), len(pieces))
    region.paint(handler.frame(columns, rows, 0), PROMPT, columns, 0)
    region.close()
    return emulator.rows


def without_footer(rows: list[str]) -> list[str]:
    assert rows[-1].endswith(" s")
    return "\n".join(rows[:-1]).rstrip().split("\n")


CUT, COLUMNS, ROWS = cut_documents(most=10), st.integers(20, 120), st.integers(8, 30)


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples)
@given(CUT, COLUMNS, ROWS)
def test_the_screen_shows_what_one_paint_of_the_whole_would(
    cut: tuple[str, list[str]], columns: int, rows: int
):
    compare_with_one_paint(cut, columns, rows)


@pytest.mark.soak
@settings(max_examples=3_000)
@given(CUT, COLUMNS, ROWS)
def test_thousands_of_screens_show_what_one_paint_of_the_whole_would(
    cut: tuple[str, list[str]], columns: int, rows: int
):
    compare_with_one_paint(cut, columns, rows)


def compare_with_one_paint(cut: tuple[str, list[str]], columns: int, rows: int) -> None:
    text, pieces = cut
    emulator = Emulator(columns, rows)

    streamed_rows = paint_pieces([piece for piece in pieces if piece], emulator, columns, rows)

    assert without_footer(streamed_rows) == paint_at_once(text, columns, rows)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", ALLOWED.sub("", emulator.written))


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples)
@given(cut_documents(most=8), st.integers(20, 90), st.integers(20, 90), st.integers(0, 8))
def test_a_resize_on_the_way_loses_and_repeats_nothing(
    cut: tuple[str, list[str]], columns: int, new_columns: int, resized_at: int
):
    _, pieces = cut
    emulator, without_region, ink = Emulator(columns, 20), Emulator(columns, 20), Ink(DARK)
    handler, region = StreamingResponseHandler(DARK), Region(emulator, ink, reflows=False)
    for now, event in enumerate([*(TextDelta(text=piece) for piece in pieces), run_ended()]):
        if now == resized_at:
            columns = new_columns
            for terminal in (emulator, without_region):
                terminal.screen.resize(columns=columns)
        handler.handle_event(event, now)
        frame = handler.frame(columns, 20, now)
        region.paint(frame, PROMPT, columns, now)
        without_region.write("".join(f"{ink.render(line)}\r\n" for line in frame.finished))
    region.close()

    assert emulator.rows == without_region.rows


def test_an_unchanged_frame_writes_nothing():
    emulator = Emulator(40, 10)
    region = Region(emulator, Ink(DARK))
    frame = Frame(region=((StyledText("open"),),))
    region.paint(frame, PROMPT, 40, 0)
    before = emulator.written

    region.paint(frame, PROMPT, 40, 1)

    assert emulator.written == before


def test_a_row_that_has_not_changed_is_not_written_again():
    emulator = Emulator(40, 10)
    region = Region(emulator, Ink(DARK))
    region.paint(
        Frame(region=((StyledText("the same"),), (StyledText("one"),))), InputRows(), 40, 0
    )
    before = len(emulator.written)

    region.paint(
        Frame(region=((StyledText("the same"),), (StyledText("two"),))), InputRows(), 40, 1
    )

    assert "same" not in emulator.written[before:]
    assert emulator.rows == ["the same", "two"]


def test_the_cursor_stands_where_a_person_types():
    emulator = Emulator(40, 10)
    region = Region(emulator, Ink(DARK))
    typed = InputRows(
        rows=((StyledText("> one"),), (StyledText("  two"),), (StyledText("hint"),)), cursor=(1, 5)
    )

    region.paint(
        Frame(finished=((StyledText("said"),),), region=((StyledText("open"),),)), typed, 40, 0
    )

    assert (emulator.screen.cursor.y, emulator.screen.cursor.x) == (3, 5)
    assert not emulator.screen.cursor.hidden
    assert emulator.rows == ["said", "open", "> one", "  two", "hint"]


def test_rows_that_the_terminal_has_wrapped_anew_are_erased_too():
    emulator = Emulator(40, 10)
    region = Region(emulator, Ink(DARK), reflows=True)
    region.paint(
        Frame(finished=((StyledText("said"),),), region=((StyledText("o" * 30),),)), PROMPT, 40, 0
    )
    # As a terminal of 20 columns shows it after wrapping, its cursor where it was in the text.
    emulator = Emulator(20, 10)
    emulator.write("said\r\n" + "o" * 20 + "\r\n" + "o" * 10 + "\r\n> draft")
    region._out = emulator

    region.paint(Frame(region=((StyledText("o" * 19),),)), PROMPT, 20, 1)

    assert emulator.rows == ["said", "o" * 19, "> draft"]


def test_closing_leaves_what_is_finished_and_a_cursor():
    emulator = Emulator(40, 10)
    region = Region(emulator, Ink(DARK))
    region.paint(
        Frame(finished=((StyledText("said"),),), region=((StyledText("open"),),)), PROMPT, 40, 0
    )

    region.close()

    assert emulator.rows == ["said"]
    assert (emulator.screen.cursor.y, emulator.screen.cursor.x) == (1, 0)
    assert not emulator.screen.cursor.hidden
