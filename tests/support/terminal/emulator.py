"""A terminal emulator for tests, with scrollback."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import pyte
from wcwidth import wcwidth

ALLOWED = re.compile(
    r"\x1b\[\d{0,3}(?:;\d{1,3})*m"  # styles
    r"|\x1b\[\d*[AC]|\x1b\[[JK]|\r\n|\r"  # moves inside the region
    r"|\x1b\[\?(?:7|25|2004|2026)[hl]|\t"
)
"""All control sequences that a painter may write."""


class Screen(pyte.HistoryScreen):
    """pyte's screen, without characters of no width, at which pyte drops the rest of a text."""

    def draw(self, data: str) -> None:
        super().draw("".join(letter for letter in data if wcwidth(letter) > 0))

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        # tmux moves the erased rows to the scrollback, and other terminals do for other numbers.
        assert how == 0
        assert (self.cursor.x, self.cursor.y) != (0, 0), "erased the whole screen"
        super().erase_in_display(how, *args, **kwargs)


class Emulator:
    """Displays text as a terminal does; `rows` are all rows since the first, scrolled ones too."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = Screen(columns, rows, history=1_000_000, ratio=0.5)
        self._stream = pyte.Stream(self.screen)
        self._scrolled: list[str] = []
        self._scrolled_columns = columns
        self.written = ""

    def write(self, text: str) -> None:
        self.written += text
        self._stream.feed(text)

    def flush(self) -> None:
        """Do nothing: no output is buffered."""

    @property
    def scrolled(self) -> list[str]:
        """The rows that have scrolled away; each is converted once."""
        top, columns = self.screen.history.top, self.screen.columns
        if len(top) < len(self._scrolled) or columns != self._scrolled_columns:
            self._scrolled, self._scrolled_columns = [], columns
        self._scrolled += map(self._text, islice(top, len(self._scrolled), None))
        return list(self._scrolled)

    @property
    def rows(self) -> list[str]:
        visible_rows = (row.rstrip() for row in self.screen.display)
        return "\n".join([*self.scrolled, *visible_rows]).rstrip().split("\n")

    def _text(self, row: Any) -> str:
        return "".join(row[column].data for column in range(self.screen.columns)).rstrip()
