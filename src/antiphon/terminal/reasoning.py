"""What a model thinks, folded to a few rows while it comes and to one line when it has ended."""

from __future__ import annotations

from antiphon.clean import clean
from antiphon.client.amounts import counted
from antiphon.terminal import spans
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.themes import Glyphs
from antiphon.terminal.wrap import Wrapper

PREVIEW = 3
"""Rows of it that are seen while it comes."""
_CHARACTERS_PER_TOKEN = 4


class Reasoning:
    """The reasoning of one reply; only its end is looked at when it is drawn."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._since = 0.0

    @property
    def text(self) -> str:
        """All of it, as it came."""
        return "".join(self._pieces)

    def feed(self, text: str, now: float) -> None:
        """It goes on."""
        if not self._pieces:
            self._since = now
        self._pieces.append(text)
        self._size += len(text)

    def lines(self, columns: int, now: float, glyphs: Glyphs) -> list[Line]:
        """Its rows while it comes."""
        if not self._pieces:
            return []
        end = clean(self._end(2 * PREVIEW * columns), "prose").replace("\n", " ")
        wrapper = Wrapper(breaking=True)
        preview = wrapper.feed([Span(end, "faint")], max(1, columns - 2)) + wrapper.close()
        shown = [(Span("  "), *line) for line in preview[-PREVIEW:]]
        sign = glyphs.spinner[int(now * 10) % len(glyphs.spinner)]
        told = self._told(f"{sign} thinking {now - self._since:.0f} s")
        return [spans.clipped(told, columns, glyphs.more), *shown]

    def settled(self, now: float) -> Line | None:
        """What remains of it on the screen; seconds are told where at least one went by."""
        if not self._pieces:
            return None
        took = now - self._since
        seconds = f" for {took:.0f} s" if took >= 1 else ""
        return self._told(f"thought{seconds}")

    def _told(self, words: str) -> Line:
        tokens = max(1, self._size // _CHARACTERS_PER_TOKEN)
        return (Span(f"{words}, {counted(tokens, 'token')}", "faint"),)

    def _end(self, size: int) -> str:
        found: list[str] = []
        for piece in reversed(self._pieces):
            found.append(piece)
            size -= len(piece)
            if size <= 0:
                break
        return "".join(reversed(found))
