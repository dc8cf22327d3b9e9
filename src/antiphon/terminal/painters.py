"""Painters: they write frames to a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TextIO

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.markdown.nodes import Kind
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import Ink

# The input of a painter: finished lines, and the rows below them that still change.


Phase = Literal[
    "connecting",
    "waiting",
    "thinking",
    "writing",
    "calling",
    "running",
    "asking",
    "stopping",
    "idle",
]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Lines to print once (`finished`), and rows below them until the next frame (`region`).

    Rows of the region are narrower than the terminal.
    """

    finished: tuple[Line, ...] = ()
    region: tuple[Line, ...] = ()
    phase: Phase = "idle"
    kind: Kind = "text"


class InputRows(msgspec.Struct, frozen=True):
    """The input line and what stands around it, as rows below the region.

    Rows are narrower than the terminal, and leave some rows to the conversation. `cursor` is a row
    of these and a column; None hides it.
    """

    rows: tuple[Line, ...] = ()
    cursor: tuple[int, int] | None = None


class Painter(Protocol):
    """Paints frames in order; a finished line is printed exactly once."""

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Bring the terminal, which has so many columns, up to this frame."""
        ...

    def set_clipboard(self, encoded: str) -> bool:
        """Copy this base64 to the clipboard of the terminal; return False if it cannot."""
        ...

    def close(self) -> None:
        """Restore the terminal."""
        ...


# Reduced motion, for readers who ask for it and for slow connections.


class ReducedMotion:
    """Passes frames on, but redraws the region only when the phase changes.

    So spinners and clocks stand still, and a line of an answer appears when it is complete.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._phase: Phase = "idle"
        self._columns = 0
        self._region: tuple[Line, ...] = ()

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Paint the frame, with the old region if nothing but the region has changed."""
        if (frame.phase, columns) == (self._phase, self._columns) and not frame.finished:
            frame = msgspec.structs.replace(frame, region=self._region)
        self._phase, self._columns, self._region = frame.phase, columns, frame.region
        self._painter.paint(frame, typed, columns, now)

    def set_clipboard(self, encoded: str) -> bool:
        """Pass on."""
        return self._painter.set_clipboard(encoded)

    def close(self) -> None:
        """Pass on."""
        self._painter.close()


# A painter may lose its terminal: a window is closed, or the reader of a pipe ends.


class PainterGuard:
    """Passes frames on until writing fails; then nothing is painted any more.

    So everything behind the display ends in order. `why` is the error, and `on_gone` is called.
    """

    def __init__(self, painter: Painter) -> None:
        self.why: OSError | None = None
        self.on_gone: Callable[[], None] = lambda: None
        self._painter = painter

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Paint, if the terminal is still there."""
        self._try(lambda: self._painter.paint(frame, typed, columns, now))

    def set_clipboard(self, encoded: str) -> bool:
        """Pass on if the terminal is still there."""
        return self.why is None and self._painter.set_clipboard(encoded)

    def close(self) -> None:
        """Close the painter if the terminal is still there."""
        self._try(self._painter.close)

    def _try(self, write: Callable[[], None]) -> None:
        if self.why is not None:
            return
        try:
            write()
        except OSError as error:
            self.why = error
            self.on_gone()


# The terminal's main screen: finished lines are printed, open rows are redrawn below them.


_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # a terminal that knows it shows a paint in one go
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
"""Around the rows of the region: a row that is wider than the terminal, during a resize or because
it counts cells differently, is cut. So a row is always one row."""
_PASTE, _PASTE_NO_MORE = "\x1b[?2004h", "\x1b[?2004l"  # what is pasted comes between marks
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_ERASE_REST = "\x1b[K"
_ERASE_BELOW = "\x1b[K\x1b[C\x1b[J\r"
"""Erases from the beginning of a row on. It starts one column in, for tmux keeps text erased from
the first cell of the screen as if it had been scrolled away."""


class Region:
    """Paints frames on the main screen, the region below the finished lines.

    `reflows`: the terminal rewraps its rows when it gets narrower, as all but xterm do. Then rows
    drawn before take more rows now.
    """

    def __init__(self, out: TextIO, ink: Ink, *, reflows: bool = True) -> None:
        self._out = out
        self._ink = ink
        self._reflows = reflows
        self._rows: tuple[Line, ...] = ()
        self._cursor: tuple[int, int] | None = None
        self._columns = 0

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Erase the region, print finished lines, draw the region; nothing if nothing changed."""
        rows = (*frame.region, *typed.rows)
        cursor = typed.cursor and (len(frame.region) + typed.cursor[0], typed.cursor[1])
        if not frame.finished and (rows, cursor) == (self._rows, self._cursor):
            return
        all_rows = bool(frame.finished) or columns != self._columns
        painted = [_BEGIN, _HIDE, self._home(columns), _ERASE_BELOW if all_rows else ""]
        if not self._columns:
            painted.insert(0, _PASTE)
        painted += (f"{self._ink.render(line)}\r\n" for line in frame.finished)
        painted += (_CUT, *self._draw_rows(rows, () if all_rows else self._rows), _WRAP)
        painted += self._place_cursor(rows, cursor)
        self._rows, self._cursor, self._columns = rows, cursor, columns
        self._write([*painted, _END])

    def set_clipboard(self, encoded: str) -> bool:
        """Write the clipboard by OSC 52; it is never read. Only base64 is accepted."""
        if not _BASE64.fullmatch(encoded):
            return False
        self._write([f"\x1b]52;c;{encoded}\x07"])
        return True

    def close(self) -> None:
        """Erase the region; leave the cursor below the finished lines."""
        if self._columns:
            self._write([self._home(self._columns), _ERASE_BELOW, _SHOW, _PASTE_NO_MORE])
        self._rows, self._cursor, self._columns = (), None, 0

    def _home(self, columns: int) -> str:
        """Return the sequence from the cursor's place to the beginning of the region."""
        if not self._rows:
            return "\r"
        row, column = self._cursor or (len(self._rows) - 1, spans.line_width(self._rows[-1]))
        up = row
        if self._reflows and columns < self._columns:
            widths = map(spans.line_width, self._rows[:row])
            above = sum(max(1, -(-width // max(1, columns))) for width in widths)
            up = above + column // columns
        return f"\x1b[{up}A\r" if up else "\r"

    def _draw_rows(self, rows: Sequence[Line], before: Sequence[Line]) -> Iterator[str]:
        """Yield the rows, skipping those that are on the screen already."""
        for at, row in enumerate(rows):
            if at:
                yield "\r\n"
            if at >= len(before) or row != before[at]:
                yield f"{self._ink.render(row)}{_ERASE_REST}"
        if len(rows) < len(before):
            # Below the last row, which itself may have been passed over.
            yield f"\r\n{_ERASE_BELOW}\x1b[A" if rows else _ERASE_BELOW

    def _place_cursor(self, rows: Sequence[Line], cursor: tuple[int, int] | None) -> Iterator[str]:
        """Move the cursor to the input; without input, to the end of the last row, hidden."""
        if cursor is None:
            if rows:
                yield _column(spans.line_width(rows[-1]))
            return
        row, column = cursor
        if up := len(rows) - 1 - row:
            yield f"\x1b[{up}A"
        yield _column(column) + _SHOW

    def _write(self, parts: Sequence[str]) -> None:
        self._out.write("".join(parts))
        self._out.flush()


def _column(column: int) -> str:
    return f"\r\x1b[{column}C" if column else "\r"
