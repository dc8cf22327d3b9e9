"""The block that is being read: what it holds back, which lines are its own, how it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from antiphon.terminal.markdown import source
from antiphon.terminal.markdown.nodes import Align, Code, Heading, Paragraph, Piece, Table, Where
from antiphon.terminal.markdown.source import CODE_INDENT, SourceLine

# Tables of Markdown: the line that makes one, and the cells of a row.


def parse_alignments(text: str) -> tuple[Align, ...]:
    """The columns that a table's second line tells of; none if it is no such line."""
    if not _DELIMITER.fullmatch(text):
        return ()
    parts = [part.strip() for part in text.split("|")]
    if not parts[0]:
        parts = parts[1:]
    if parts and not parts[-1]:
        parts = parts[:-1]
    if not all(_COLUMN.fullmatch(part) for part in parts):
        return ()
    return tuple(_ALIGNS[part[0] == ":", part[-1] == ":"] for part in parts)


_COLUMN = re.compile(r":?-+:?")
_ALIGNS: dict[tuple[bool, bool], Align] = {
    (False, False): "",
    (True, False): "left",
    (False, True): "right",
    (True, True): "center",
}


def split_row(text: str) -> tuple[str, ...]:
    """The cells of a row, as they are written."""
    cells = [cell.replace("\\|", "|") for cell in _PIPE.split(text.strip())]
    if cells and not cells[0]:
        cells = cells[1:]
    if cells and not cells[-1]:
        cells = cells[:-1]
    return tuple(cell.strip() for cell in cells)


_DELIMITER = re.compile(r"(?:\||-[-:|]|:[-:|\s])[-:|\s]*")
_PIPE = re.compile(r"(?<!\\)\|")


MEASURED_ROWS = 20
"""Rows of a table that are seen before its columns get their widths."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """An open block; a frozen value, so that what comes can be tried without harm."""

    where: Where = ()
    gap: bool = False
    begins: bool = True

    @property
    def name(self) -> str:
        """A word for what is being written."""
        return ""

    def ending(self) -> Sequence[Piece]:
        """What is printed when it ends."""
        return ()


class OpenParagraph(Leaf, frozen=True):
    """A paragraph, as long as it is none of the things that a line below could make of it.

    `head`: whether its last line may be the first of a table. `searched`: how far its text was
    searched for a place to cut it.
    """

    lines: tuple[str, ...]
    head: bool = True
    searched: int = 0

    @property
    def name(self) -> str:
        """As everywhere."""
        return "paragraph"

    def ending(self) -> Sequence[Piece]:
        """All that was not let go of before."""
        return (self._piece("\n".join(self.lines).rstrip(), ends=True),)

    def with_line(self, text: str, *, head: bool) -> OpenParagraph:
        """It goes on with this line."""
        return msgspec.structs.replace(self, lines=(*self.lines, text), head=head)

    def with_more(self, text: str) -> OpenParagraph:
        """Its last line, which is long, goes on."""
        *before, last = self.lines
        return msgspec.structs.replace(self, lines=(*before, last + text), head=False)

    def as_heading(self, text: str) -> Heading | None:
        """The heading that a line below makes of it, if it is one that does."""
        said = "\n".join(self.lines)
        if not (self.begins and _UNDERLINE.fullmatch(text)) or _only_definitions(self.lines):
            return None
        level = 1 if text[0] == "=" else 2
        return Heading(where=self.where, gap=self.gap, level=level, text=said.strip())

    def as_table(self, line: SourceLine) -> tuple[OpenParagraph | None, OpenTable] | None:
        """What remains of it, and the table that a line below makes of its last line."""
        if not self.head or line.indent >= CODE_INDENT or "|" not in self.lines[-1]:
            return None
        aligns, header = parse_alignments(line.bare), split_row(self.lines[-1])
        if not aligns or len(header) != len(aligns):
            return None
        table = OpenTable(where=self.where, gap=self.gap, header=header, aligns=aligns)
        rest = self.lines[:-1]
        return (msgspec.structs.replace(self, lines=rest) if rest else None), table

    def cut(self, *, confirmed: bool) -> tuple[list[Piece], OpenParagraph]:
        """The sentences of a long one that nothing reaches over, and what is left.

        The last line may yet become a table's first, unless it is so long that it was `confirmed`.
        """
        pieces: list[Piece] = []
        leaf = self
        while sum(map(len, leaf.lines)) > source.SOFT:
            lines, rest = (leaf.lines, ()) if confirmed else (leaf.lines[:-1], leaf.lines[-1:])
            text = "\n".join(lines)
            if leaf.begins and _DEFINITION.match(text) and len(text) < source.HARD:
                break
            end, searched = source.find_cut(text, leaf.searched)
            if not end:
                return pieces, msgspec.structs.replace(leaf, searched=searched)
            pieces.append(leaf._piece(text[:end], ends=False))
            kept = (*text[end:].split("\n"), *rest)
            leaf = msgspec.structs.replace(leaf, lines=kept, begins=False, searched=0)
        return pieces, leaf

    def _piece(self, text: str, *, ends: bool) -> Paragraph:
        return Paragraph(where=self.where, gap=self.gap, begins=self.begins, text=text, ends=ends)


class OpenTable(Leaf, frozen=True):
    """`rows` are those that were not printed yet."""

    header: tuple[str, ...]
    aligns: tuple[Align, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """As everywhere."""
        return "table"

    def ending(self) -> Sequence[Piece]:
        """All of a short one."""
        return (self._piece(),) if self.begins else ()

    def with_row(self, text: str) -> tuple[Sequence[Piece], OpenTable]:
        """What is printed now that this row is there, and what is left."""
        cells = split_row(text)[: len(self.aligns)]
        row = cells + ("",) * (len(self.aligns) - len(cells))
        table = msgspec.structs.replace(self, rows=(*self.rows, row))
        if self.begins and len(table.rows) < MEASURED_ROWS:
            return (), table
        return (table._piece(),), msgspec.structs.replace(table, rows=(), begins=False)

    def _piece(self) -> Table:
        return Table(
            where=self.where,
            gap=self.gap,
            begins=self.begins,
            header=self.header,
            aligns=self.aligns,
            rows=self.rows,
        )


class Verbatim(Leaf, frozen=True):
    """Code of some kind: its lines are final one by one."""

    @property
    def language(self) -> str:
        """Of the code, as the fence has it."""
        return ""

    @property
    def name(self) -> str:
        """Its language, if that is known."""
        return self.language or "code"

    def goes_on(self, line: SourceLine) -> bool:
        """Whether the line is its own, whatever it looks like."""
        return True

    def with_line(self, line: SourceLine) -> tuple[Sequence[Piece], Verbatim | None]:
        """What is printed now that this line is there, and what is left: None if it has ended."""
        texts, leaf, ended = self._read(line)
        if not texts:
            return (self.ending() if ended else ()), None if ended else leaf
        code = Code(
            where=self.where,
            gap=self.gap,
            begins=self.begins,
            language=self.language,
            text="\n".join(texts),
        )
        return (code,), None if ended else msgspec.structs.replace(leaf, begins=False)

    def ending(self) -> Sequence[Piece]:
        """A fence without a line is still a block."""
        if not self.begins:
            return ()
        return (Code(where=self.where, gap=self.gap, language=self.language, text=None),)

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        """The lines to print, what is left, and whether it has ended."""
        return (line.rest,), self, False


class Fence(Verbatim, frozen=True):
    """`mark` is the row of ticks or tildes that opened it, `indent` how far it stood in."""

    mark: str
    info: str
    indent: int

    @property
    def language(self) -> str:
        """The first word beside the mark."""
        return self.info.split(maxsplit=1)[0] if self.info else ""

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        text = line.bare.rstrip(" \t")
        closes = len(text) >= len(self.mark) and text == self.mark[0] * len(text)
        if closes and line.indent < CODE_INDENT:
            return (), self, True
        line.drop(min(self.indent, line.indent))
        return (line.rest,), self, False


class Indented(Verbatim, frozen=True):
    """Empty lines are its own only if more follows."""

    blanks: tuple[str, ...] = ()

    def goes_on(self, line: SourceLine) -> bool:
        """As long as it is indented."""
        return line.blank or line.indent >= CODE_INDENT

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        line.drop(CODE_INDENT)
        if line.blank:
            return (), msgspec.structs.replace(self, blanks=(*self.blanks, line.rest)), False
        return (*self.blanks, line.rest), msgspec.structs.replace(self, blanks=()), False


class Html(Verbatim, frozen=True):
    """`end` is what its last line has in it; None where an empty line ends it."""

    end: re.Pattern[str] | None

    @property
    def language(self) -> str:
        """As everywhere."""
        return "html"

    def goes_on(self, line: SourceLine) -> bool:
        """To its end."""
        return self.end is not None or not line.blank

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        return (line.rest,), self, bool(self.end and self.end.search(line.rest))


_UNDERLINE = re.compile(r"(?:=+|-+)[ \t]*")
_DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.)+\]:")


def _only_definitions(lines: Sequence[str]) -> bool:
    """Whether nothing but definitions of links may stand here, which no line can underline."""
    return all(_DEFINITION.match(line) for line in lines)
