"""A terminal to look at, scrollback included."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import pyte
from wcwidth import wcwidth

ALLOWED = re.compile(
    r"\x1b\[\d{0,3}(?:;\d{1,3})*m"  # our styles
    r"|\x1b\[\d*[AC]|\x1b\[[JK]|\r\n|\r"  # our moves, inside the region
    r"|\x1b\[\?(?:7|25|2004|2026)[hl]|\t"
)
"""All that a painter may write beside text."""


class Screen(pyte.HistoryScreen):
    """pyte's, which forgets the rest of a text at a character without a width."""

    def draw(self, data: str) -> None:
        super().draw("".join(letter for letter in data if wcwidth(letter) > 0))

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        # tmux keeps what was there as if it had been scrolled away, others for other numbers.
        assert how == 0
        assert (self.cursor.x, self.cursor.y) != (0, 0), "erased the whole screen"
        super().erase_in_display(how, *args, **kwargs)


class Emulator:
    """Takes bytes as a terminal does; `rows` are all there are, from the first that was printed."""

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
        """Nothing is held back."""

    @property
    def scrolled(self) -> list[str]:
        """The rows that have scrolled away, each read once."""
        top, columns = self.screen.history.top, self.screen.columns
        if len(top) < len(self._scrolled) or columns != self._scrolled_columns:
            self._scrolled, self._scrolled_columns = [], columns
        self._scrolled += map(self._text, islice(top, len(self._scrolled), None))
        return list(self._scrolled)

    @property
    def rows(self) -> list[str]:
        shown = (row.rstrip() for row in self.screen.display)
        return "\n".join([*self.scrolled, *shown]).rstrip().split("\n")

    def _text(self, row: Any) -> str:
        return "".join(row[at].data for at in range(self.screen.columns)).rstrip()
