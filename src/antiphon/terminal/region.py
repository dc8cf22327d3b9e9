"""Paints on the main screen: finished lines are printed, what is open is drawn anew below them.

The terminal scrolls, searches and selects by itself, for it is only ever given lines. There is no
scroll region, no clearing of the screen, no query, and nothing above the region is touched. What
the line editor shows is part of the region, so that one hand writes all there is to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from antiphon.terminal import spans
from antiphon.terminal.frames import Frame
from antiphon.terminal.painters import Typed
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import Ink

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

    def paint(self, frame: Frame, typed: Typed, columns: int, now: float) -> None:
        """Erase the region, print what is finished, draw the region; nothing if nothing changed."""
        rows = (*frame.region, *typed.rows)
        cursor = typed.cursor and (len(frame.region) + typed.cursor[0], typed.cursor[1])
        if not frame.finished and (rows, cursor) == (self._rows, self._cursor):
            return
        anew = bool(frame.finished) or columns != self._columns
        painted = [_BEGIN, _HIDE, self._home(columns), _ERASE_BELOW if anew else ""]
        if not self._columns:
            painted.insert(0, _PASTE)
        painted += (f"{self._ink.written(line)}\r\n" for line in frame.finished)
        painted += (_CUT, *self._drawn(rows, () if anew else self._rows), _WRAP)
        painted += self._pointed(rows, cursor)
        self._rows, self._cursor, self._columns = rows, cursor, columns
        self._write([*painted, _END])

    def keep(self, encoded: str) -> bool:
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
        row, column = self._cursor or (len(self._rows) - 1, spans.width(self._rows[-1]))
        up = row
        if self._reflows and columns < self._columns:
            above = sum(_taken(spans.width(line), columns) for line in self._rows[:row])
            up = above + column // columns
        return f"\x1b[{up}A\r" if up else "\r"

    def _drawn(self, rows: Sequence[Line], before: Sequence[Line]) -> Iterator[str]:
        """The rows; those that are there already are passed over."""
        for at, row in enumerate(rows):
            if at:
                yield "\r\n"
            if at >= len(before) or row != before[at]:
                yield f"{self._ink.written(row)}{_ERASE_REST}"
        if len(rows) < len(before):
            # Below the last row, which itself may have been passed over.
            yield f"\r\n{_ERASE_BELOW}\x1b[A" if rows else _ERASE_BELOW

    def _pointed(self, rows: Sequence[Line], cursor: tuple[int, int] | None) -> Iterator[str]:
        """The cursor to where typing goes; hidden at the end of the last row if nowhere."""
        if cursor is None:
            if rows:
                yield _column(spans.width(rows[-1]))
            return
        row, column = cursor
        if up := len(rows) - 1 - row:
            yield f"\x1b[{up}A"
        yield _column(column) + _SHOW

    def _write(self, parts: Sequence[str]) -> None:
        self._out.write("".join(parts))
        self._out.flush()


def _taken(width: int, columns: int) -> int:
    """The rows that so many cells take."""
    return max(1, -(-width // max(1, columns)))


def _column(column: int) -> str:
    return f"\r\x1b[{column}C" if column else "\r"
