"""A table in lines: columns as wide as what was seen of them, or rows as names and values.

Its widths are settled by the first rows. What is wider later is broken inside its cell; nothing
is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from antiphon.terminal import spans
from antiphon.terminal.pieces import Align
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.themes import Glyphs
from antiphon.terminal.wrap import Wrapper

NARROWEST = 6
"""Cells that each column must get at least, or there are no columns."""

Cell = Sequence[Span]


class Grid:
    """One table, in so many columns of the terminal."""

    def __init__(
        self,
        header: Sequence[Cell],
        aligns: Sequence[Align],
        rows: Sequence[Sequence[Cell]],
        room: int,
        glyphs: Glyphs,
    ) -> None:
        self._header = header
        self._aligns = aligns
        self._glyphs = glyphs
        self._room = room
        natural = [
            max(1, *(spans.width(cell) for cell in column))
            for column in zip(header, *rows, strict=True)
        ]
        self._widths = _fitted(natural, room - len(glyphs.column) * (len(natural) - 1))
        self._records = 0

    def head(self) -> list[Line]:
        """The header and the rule below it."""
        if not self._widths:
            return []
        bold = [
            [span._replace(style=f"header {span.style}".strip()) for span in cell]
            for cell in self._header
        ]
        rule = self._glyphs.crossing.join(self._glyphs.rule * width for width in self._widths)
        return [*self._lines(bold), (Span(rule, "rule"),)]

    def row(self, cells: Sequence[Cell]) -> list[Line]:
        """The lines of one row."""
        return list(self._lines(cells)) if self._widths else list(self._record(cells))

    def _lines(self, cells: Sequence[Cell]) -> Iterator[Line]:
        columns = [_set(cell, width) for cell, width in zip(cells, self._widths, strict=True)]
        for parts in zip_longest(*columns, fillvalue=()):
            line: list[Span] = []
            for part, width, align in zip(parts, self._widths, self._aligns, strict=True):
                if line:
                    line.append(Span(self._glyphs.column, "rule"))
                line += _aligned(part, width - spans.width(part), align)
            yield tuple(line)

    def _record(self, cells: Sequence[Cell]) -> Iterator[Line]:
        if self._records:
            yield ()
        self._records += 1
        for name, cell in zip(self._header, cells, strict=True):
            label = [span._replace(style="header") for span in name]
            yield from _set([*label, Span(": "), *cell], self._room)


def _fitted(natural: Sequence[int], room: int) -> list[int]:
    """Widths that fit; the widest give way first. None where a column would get too little."""
    if sum(natural) <= room:
        return list(natural)
    if room < NARROWEST * len(natural):
        return []
    widths = dict[int, int]()
    left = room
    for place, (at, width) in enumerate(sorted(enumerate(natural), key=lambda pair: pair[1])):
        widths[at] = min(width, left // (len(natural) - place))
        left -= widths[at]
    return [widths[at] for at in range(len(natural))]


def _set(cell: Cell, width: int) -> list[Line]:
    wrapper = Wrapper(breaking=True)
    return wrapper.feed(cell, width) + wrapper.close()


def _aligned(part: Line, blanks: int, align: Align) -> Iterator[Span]:
    before = {"right": blanks, "center": blanks // 2}.get(align, 0)
    if before > 0:
        yield Span(" " * before)
    yield from part
    if blanks > before:
        yield Span(" " * (blanks - before))
