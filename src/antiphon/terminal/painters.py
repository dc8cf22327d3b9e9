"""What a painter is: frames in, bytes to a terminal out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TextIO

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.markdown.content_type import Kind
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import Ink

# What a painter is given: lines that are finished, and the rows below them that are not.


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
    """`finished` goes above, for ever; `region` is drawn below it until the next frame.

    Rows of the region are narrower than the terminal.
    """

    finished: tuple[Line, ...] = ()
    region: tuple[Line, ...] = ()
    phase: Phase = "idle"
    kind: Kind = "text"


class InputRows(msgspec.Struct, frozen=True):
    """The line that a person types, with whatever stands around it, as rows below the region.

    Rows are narrower than the terminal, and leave it some of its own. `cursor` is a row of these
    and a column; None hides it.
    """

    rows: tuple[Line, ...] = ()
    cursor: tuple[int, int] | None = None


class Painter(Protocol):
    """Draws frames, in order; what a frame finished was never drawn before and never is again."""

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Bring the terminal, which has so many columns, up to this frame."""
        ...

    def set_clipboard(self, encoded: str) -> bool:
        """Have the terminal put this base64 into its clipboard; False where none can be asked."""
        ...

    def close(self) -> None:
        """Leave the terminal as a program expects it."""
        ...


# A painter that keeps still: what only moves is not drawn, for eyes and slow lines.


class ReducedMotion:
    """Has another painter draw what is finished, what is typed, and a region once for each phase.

    So spinners and clocks stand, and a line of an answer comes when it is whole.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._phase: Phase = "idle"
        self._columns = 0
        self._region: tuple[Line, ...] = ()

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Draw it, with the region that there was where nothing has happened."""
        if (frame.phase, columns) == (self._phase, self._columns) and not frame.finished:
            frame = msgspec.structs.replace(frame, region=self._region)
        self._phase, self._columns, self._region = frame.phase, columns, frame.region
        self._painter.paint(frame, typed, columns, now)

    def set_clipboard(self, encoded: str) -> bool:
        """As the painter does."""
        return self._painter.set_clipboard(encoded)

    def close(self) -> None:
        """As the other painter."""
        self._painter.close()


# A painter may lose its terminal: a window is closed, the reader of a pipe has seen enough.


class PainterGuard:
    """Has another painter draw until that fails; then nothing is drawn any more.

    So all that has to end behind it ends in order. `why` is what failed, and `on_gone` is told.
    """

    def __init__(self, painter: Painter) -> None:
        self.why: OSError | None = None
        self.on_gone: Callable[[], None] = lambda: None
        self._painter = painter

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Draw it, where somebody sees it."""
        self._try(lambda: self._painter.paint(frame, typed, columns, now))

    def set_clipboard(self, encoded: str) -> bool:
        """As the other painter, where there is a terminal."""
        return self.why is None and self._painter.set_clipboard(encoded)

    def close(self) -> None:
        """As the other painter, where there is something to leave."""
        self._try(self._painter.close)

    def _try(self, write: Callable[[], None]) -> None:
        if self.why is not None:
            return
        try:
            write()
        except OSError as error:
            self.why = error
            self.on_gone()


# Paints on the main screen: finished lines are printed, what is open is drawn anew below them.


_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # a terminal that knows it shows a paint in one go
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
"""Around the rows of the region: one that is wider than the terminal turns out to be, because it is
being resized or counts cells otherwise, is cut. So a row is always one row."""
_PASTE, _PASTE_NO_MORE = "\x1b[?2004h", "\x1b[?2004l"  # what is pasted comes between marks
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_ERASE_REST = "\x1b[K"
_ERASE_BELOW = "\x1b[K\x1b[C\x1b[J\r"
"""From the beginning of a row on. One column in, for tmux keeps what is erased from the first cell
of the screen on as if it had been scrolled away."""


class Region:
    """The rows below what is finished.

    `reflows`: whether the terminal wraps its rows anew when it gets narrower, as all but xterm do.
    Then rows that were drawn before take more rows now.
    """

    def __init__(self, out: TextIO, ink: Ink, *, reflows: bool = True) -> None:
        self._out = out
        self._ink = ink
        self._reflows = reflows
        self._rows: tuple[Line, ...] = ()
        self._cursor: tuple[int, int] | None = None
        self._columns = 0

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Erase the region, print what is finished, draw the region; nothing if nothing changed."""
        rows = (*frame.region, *typed.rows)
        cursor = typed.cursor and (len(frame.region) + typed.cursor[0], typed.cursor[1])
        if not frame.finished and (rows, cursor) == (self._rows, self._cursor):
            return
        anew = bool(frame.finished) or columns != self._columns
        painted = [_BEGIN, _HIDE, self._home(columns), _ERASE_BELOW if anew else ""]
        if not self._columns:
            painted.insert(0, _PASTE)
        painted += (f"{self._ink.render(line)}\r\n" for line in frame.finished)
        painted += (_CUT, *self._draw_rows(rows, () if anew else self._rows), _WRAP)
        painted += self._place_cursor(rows, cursor)
        self._rows, self._cursor, self._columns = rows, cursor, columns
        self._write([*painted, _END])

    def set_clipboard(self, encoded: str) -> bool:
        """OSC 52: the clipboard is written, and never read. Only base64 goes through."""
        if not _BASE64.fullmatch(encoded):
            return False
        self._write([f"\x1b]52;c;{encoded}\x07"])
        return True

    def close(self) -> None:
        """Erase the region; the cursor stands below what is finished."""
        if self._columns:
            self._write([self._home(self._columns), _ERASE_BELOW, _SHOW, _PASTE_NO_MORE])
        self._rows, self._cursor, self._columns = (), None, 0

    def _home(self, columns: int) -> str:
        """From where the cursor was left to the beginning of the region."""
        if not self._rows:
            return "\r"
        row, column = self._cursor or (len(self._rows) - 1, spans.line_width(self._rows[-1]))
        up = row
        if self._reflows and columns < self._columns:
            above = sum(_rows_taken(spans.line_width(line), columns) for line in self._rows[:row])
            up = above + column // columns
        return f"\x1b[{up}A\r" if up else "\r"

    def _draw_rows(self, rows: Sequence[Line], before: Sequence[Line]) -> Iterator[str]:
        """The rows; those that are there already are passed over."""
        for at, row in enumerate(rows):
            if at:
                yield "\r\n"
            if at >= len(before) or row != before[at]:
                yield f"{self._ink.render(row)}{_ERASE_REST}"
        if len(rows) < len(before):
            # Below the last row, which itself may have been passed over.
            yield f"\r\n{_ERASE_BELOW}\x1b[A" if rows else _ERASE_BELOW

    def _place_cursor(self, rows: Sequence[Line], cursor: tuple[int, int] | None) -> Iterator[str]:
        """The cursor to where typing goes; hidden at the end of the last row if nowhere."""
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


def _rows_taken(width: int, columns: int) -> int:
    """The rows that so many cells take."""
    return max(1, -(-width // max(1, columns)))


def _column(column: int) -> str:
    return f"\r\x1b[{column}C" if column else "\r"
