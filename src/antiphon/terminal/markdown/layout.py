"""Set pieces of Markdown as lines for a width: final lines, and lines of the open rest.

Prose is wrapped at words, code never: the terminal wraps it, so that copied code is what was
written. For the same reason code in a list stands at the margin, not below its bullet.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from antiphon.terminal import spans
from antiphon.terminal.markdown.nodes import (
    Align,
    Code,
    Empty,
    Heading,
    Item,
    Paragraph,
    Piece,
    Quote,
    Rule,
    TableNode,
    Where,
)
from antiphon.terminal.markdown.text_spans import Highlighter, Inline
from antiphon.terminal.spans import Line, StyledText, Wrapper
from antiphon.terminal.themes import Glyphs, Theme
from antiphon.types.terminal_safe import clean

# Tables: columns as wide as the first rows need, or records of names and values.


NARROWEST_COLUMN = 6
"""Least cells of a column; with less room, the table is set as records."""

Cell = Sequence[StyledText]


class Grid:
    """One table, set for a width of the terminal."""

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
            max(1, *(spans.line_width(cell) for cell in column))
            for column in zip(header, *rows, strict=True)
        ]
        self._widths = _fit_widths(natural, room - len(glyphs.column) * (len(natural) - 1))
        self._records = 0

    def head(self) -> list[Line]:
        """Return the header and the rule below it."""
        if not self._widths:
            return []
        bold = [
            [span._replace(style=f"header {span.style}".strip()) for span in cell]
            for cell in self._header
        ]
        rule = self._glyphs.crossing.join(self._glyphs.rule * width for width in self._widths)
        return [*self._lines(bold), (StyledText(rule, "rule"),)]

    def row(self, cells: Sequence[Cell]) -> list[Line]:
        """Return the lines of one row."""
        return list(self._lines(cells)) if self._widths else list(self._record(cells))

    def _lines(self, cells: Sequence[Cell]) -> Iterator[Line]:
        columns = [_wrap_cell(cell, width) for cell, width in zip(cells, self._widths, strict=True)]
        for parts in zip_longest(*columns, fillvalue=()):
            line: list[StyledText] = []
            for part, width, align in zip(parts, self._widths, self._aligns, strict=True):
                if line:
                    line.append(StyledText(self._glyphs.column, "rule"))
                line += _align(part, width - spans.line_width(part), align)
            yield tuple(line)

    def _record(self, cells: Sequence[Cell]) -> Iterator[Line]:
        if self._records:
            yield ()
        self._records += 1
        for name, cell in zip(self._header, cells, strict=True):
            label = [span._replace(style="header") for span in name]
            yield from _wrap_cell([*label, StyledText(": "), *cell], self._room)


def _fit_widths(natural: Sequence[int], room: int) -> list[int]:
    """Return widths that fit, shrinking the widest; [] if a column would be too narrow."""
    if sum(natural) <= room:
        return list(natural)
    if room < NARROWEST_COLUMN * len(natural):
        return []
    widths = dict[int, int]()
    left = room
    for place, (at, width) in enumerate(sorted(enumerate(natural), key=lambda pair: pair[1])):
        widths[at] = min(width, left // (len(natural) - place))
        left -= widths[at]
    return [widths[at] for at in range(len(natural))]


def _wrap_cell(cell: Cell, width: int) -> list[Line]:
    wrapper = Wrapper(breaking=True)
    return wrapper.feed(cell, width) + wrapper.close()


def _align(part: Line, blanks: int, align: Align) -> Iterator[StyledText]:
    before = {"right": blanks, "center": blanks // 2}.get(align, 0)
    if before > 0:
        yield StyledText(" " * before)
    yield from part
    if blanks > before:
        yield StyledText(" " * (blanks - before))


PROSE = 100
"""Columns of running text at most: longer lines are hard to read."""
NARROWEST = 16
"""Least columns of text in containers, at any depth."""
_RULE = 40


class Typesetter:
    """Sets the pieces of one answer, in order."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._inline = Inline(marks=theme.marks)
        self._anything = False
        self._marked = 0  # serial of the last item whose mark was printed
        self._task: bool | None = None
        self._wrapper = Wrapper()
        self._highlighter = Highlighter("")
        self._grid: Grid | None = None

    def lines(self, pieces: Iterable[Piece], columns: int) -> list[Line]:
        """Return the lines that these pieces complete."""
        return [line for piece in pieces for line in self._piece(piece, max(1, columns))]

    def pending(self, pieces: Iterable[Piece], columns: int) -> list[Line]:
        """Return the lines that these pieces would complete; change nothing."""
        twin = copy.copy(self)
        twin._wrapper = copy.copy(self._wrapper)
        twin._highlighter = self._highlighter.copy()
        twin._inline = self._inline.copy()
        return twin.lines(pieces, columns)

    def _piece(self, piece: Piece, columns: int) -> Iterator[Line]:
        match piece:
            case Paragraph():
                yield from self._paragraph(piece, columns)
            case Code():
                yield from self._gap(piece)
                yield from self._code(piece)
            case Heading():
                yield from self._gap(piece)
                yield from self._heading(piece, columns)
            case TableNode():
                yield from self._gap(piece)
                yield from self._table(piece, columns)
            case Rule():
                yield from self._gap(piece)
                room = min(_RULE, self._room(piece.where, columns))
                yield from self._place(
                    piece.where, [(StyledText(self._theme.glyphs.rule * room, "rule"),)]
                )
            case Empty():
                yield from self._gap(piece)
                yield from self._place(piece.where, [()])

    def _gap(self, piece: Piece) -> Iterator[Line]:
        """Yield an empty line before the piece, within the containers that continue."""
        if piece.begins:
            if piece.gap and self._anything:
                shared = [at for at in piece.where if at.serial <= self._marked]
                yield spans.strip(list(self._prefix(tuple(shared))))
            self._anything = True

    def _paragraph(self, piece: Paragraph, columns: int) -> Iterator[Line]:
        text = piece.text
        if piece.begins:
            text = self._inline.strip_definitions(text) if piece.ends else text
            if not text:
                return
            yield from self._gap(piece)
            self._wrapper = Wrapper()
            text = self._strip_task(piece.where, text)
        room = self._room(piece.where, min(PROSE, columns))
        lines = self._wrapper.feed(self._inline.spans(text), room)
        if piece.ends:
            lines += self._wrapper.close()
        yield from self._place(piece.where, lines)

    def _strip_task(self, where: Where, text: str) -> str:
        """Return the text without a task's box, which the item's mark will show."""
        box = _TASK.match(text) if where and where[-1].serial > self._marked else None
        if not box or not isinstance(where[-1], Item):
            return text
        self._task = box[1] != " "
        return text[box.end() :]

    def _heading(self, piece: Heading, columns: int) -> Iterator[Line]:
        style = f"heading {piece.level}" if piece.level == 1 else "heading"
        words = self._inline.spans(piece.text)
        if self._theme.marks:
            words = [StyledText("#" * piece.level + " "), *words]
        wrapper = Wrapper()
        styled = (
            span if span.style == "host" else span._replace(style=f"{style} {span.style}".strip())
            for span in words
        )
        room = self._room(piece.where, columns)
        yield from self._place(piece.where, wrapper.feed(styled, room) + wrapper.close())

    def _code(self, piece: Code) -> Iterator[Line]:
        if piece.begins:
            self._highlighter = Highlighter(piece.language)
            if any(isinstance(at, Item) and at.serial > self._marked for at in piece.where):
                yield from self._place(piece.where, [()])
        quotes = tuple(at for at in piece.where if isinstance(at, Quote))
        if piece.text is not None:
            texts = clean(piece.text, "code").split("\n")
            yield from self._place(quotes, [tuple(self._highlighter.line(text)) for text in texts])

    def _table(self, piece: TableNode, columns: int) -> Iterator[Line]:
        rows = [tuple(map(self._inline.spans, row)) for row in piece.rows]
        if piece.begins or not self._grid:
            header = tuple(map(self._inline.spans, piece.header))
            room = self._room(piece.where, columns)
            self._grid = Grid(header, piece.aligns, rows, room, self._theme.glyphs)
            yield from self._place(piece.where, self._grid.head())
        for row in rows:
            yield from self._place(piece.where, self._grid.row(row))

    def _room(self, where: Where, columns: int) -> int:
        """Return the columns left for text inside these containers."""
        taken = sum(spans.line_width(self._mark(where, depth)) for depth in range(len(where)))
        return max(NARROWEST, columns - taken) if where else columns

    def _place(self, where: Where, lines: Sequence[Line]) -> Iterator[Line]:
        """Yield the lines behind the marks of their containers."""
        for line in lines:
            yield spans.strip([*self._prefix(where), *line])

    def _prefix(self, where: Where) -> Iterator[StyledText]:
        """Yield marks that are not printed yet, and blanks for those that are."""
        for depth, at in enumerate(where):
            mark = self._mark(where, depth)
            if isinstance(at, Item) and at.serial <= self._marked:
                mark = (StyledText(" " * spans.line_width(mark)),)
            elif isinstance(at, Item) and at is where[-1] and self._task is not None:
                box = StyledText(f"{self._box} ", "mark")
                mark = (box,) if at.number is None else (*mark, box)
                self._task = None
            yield from mark
        if where:
            self._marked = max(self._marked, where[-1].serial)

    @property
    def _box(self) -> str:
        return self._theme.glyphs.done if self._task else self._theme.glyphs.task

    def _mark(self, where: Where, depth: int) -> Line:
        glyphs = self._theme.glyphs
        match where[depth]:
            case Quote():
                return (StyledText(f"{glyphs.quote} ", "quote"),)
            case Item(number=None):
                lists = sum(isinstance(at, Item) for at in where[:depth])
                return (StyledText(f"{glyphs.bullets[lists % len(glyphs.bullets)]} ", "mark"),)
            case Item(number=number, mark=mark):
                return (StyledText(f"{number}{mark} ", "mark"),)


_TASK = re.compile(r"\[([ xX])\][ \t]+")
