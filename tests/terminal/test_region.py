"""The screen shows each finished line once, whatever came how, and gets nothing but our bytes."""

from __future__ import annotations

import re

from emulator import Emulator
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_documents import cut_documents

from antiphon.events import RunStatus, TextDelta
from antiphon.runs import Status
from antiphon.terminal.display import CompactStreamingDisplay
from antiphon.terminal.painters import Typed
from antiphon.terminal.region import Region
from antiphon.terminal.screen import StreamingResponseHandler
from antiphon.terminal.spans import Span
from antiphon.terminal.themes import THEMES, Ink

DARK = THEMES["dark"]
PROMPT = Typed(rows=((Span("> draft"),),), cursor=(0, 7))
ALLOWED = re.compile(
    r"\x1b\[\d{0,3}(?:;\d{1,3})*m"  # our styles
    r"|\x1b\[\d*[AC]|\x1b\[[JK]|\r\n|\r"  # our moves, inside the region
    r"|\x1b\[\?(?:25|2026)[hl]"
)


def ended() -> RunStatus:
    return RunStatus(run_id="run_1", thread_id="thread_1", status=Status.COMPLETED)


def shown_at_once(text: str, columns: int, rows: int = 24) -> list[str]:
    display, emulator, ink = CompactStreamingDisplay(DARK), Emulator(columns, rows), Ink(DARK)
    for line in display.feed(text, columns) + display.close(columns):
        emulator.write(f"{ink.written(line)}\r\n")
    return emulator.rows


def painted(pieces: list[str], emulator: Emulator, columns: int, rows: int = 24) -> list[str]:
    """The rows once all of it came, one paint to a piece, and the prompt is gone."""
    handler, region = StreamingResponseHandler(DARK), Region(emulator, Ink(DARK), reflows=False)
    for now, piece in enumerate(pieces):
        handler.tell(TextDelta(text=piece), now)
        region.paint(handler.frame(columns, rows, now), PROMPT, columns, now)
    handler.tell(ended(), len(pieces))
    region.paint(handler.frame(columns, rows, 0), PROMPT, columns, 0)
    region.close()
    return emulator.rows


def without_footer(rows: list[str]) -> list[str]:
    assert rows[-1].endswith(" s")
    return "\n".join(rows[:-1]).rstrip().split("\n")


@settings(max_examples=300, deadline=None)
@given(cut_documents(most=10), st.integers(20, 120), st.integers(8, 30))
def test_the_screen_shows_what_one_paint_of_the_whole_would(
    cut: tuple[str, list[str]], columns: int, rows: int
):
    text, pieces = cut
    emulator = Emulator(columns, rows)

    streamed = painted([piece for piece in pieces if piece], emulator, columns, rows)

    assert without_footer(streamed) == shown_at_once(text, columns, rows)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", ALLOWED.sub("", emulator.written))
