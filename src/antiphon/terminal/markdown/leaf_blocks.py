"""The open leaf block: the text that it holds back, the lines that it takes, its end."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from antiphon.terminal.markdown import nodes
from antiphon.terminal.markdown.nodes import (
    CODE_INDENT,
    Align,
    Code,
    Heading,
    Paragraph,
    Piece,
    SourceLine,
    TableNode,
    Where,
)

# Tables: the delimiter line, and the cells of a row.


def parse_alignments(text: str) -> tuple[Align, ...]:
    """Return the columns' alignments from a delimiter line; () for any other line."""
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
    """Return the source of the cells of a row."""
    cells = [cell.replace("\\|", "|") for cell in _PIPE.split(text.strip())]
    if cells and not cells[0]:
        cells = cells[1:]
    if cells and not cells[-1]:
        cells = cells[:-1]
    return tuple(cell.strip() for cell in cells)


_DELIMITER = re.compile(r"(?:\||-[-:|]|:[-:|\s])[-:|\s]*")
_PIPE = re.compile(r"(?<!\\)\|")


MEASURED_ROWS = 20
"""Rows of a table that determine the widths of its columns."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """Open block; a frozen value, so that a continuation can be tried and dropped."""

    where: Where = ()
    gap: bool = False
    begins: bool = True

    @property
    def name(self) -> str:
        """Name of the block for the display."""
        return ""

    def ending(self) -> Sequence[Piece]:
        """Return the pieces that its end completes."""
        return ()


class OpenParagraph(Leaf, frozen=True):
    """Paragraph that a line below may still turn into something else.

    `head`: its last line may be the header of a table. `searched`: how far its text was searched
    for a place to cut.
    """

    lines: tuple[str, ...]
    head: bool = True
    searched: int = 0

    @property
    def name(self) -> str:
        """Name of the block for the display."""
        return "paragraph"

    def ending(self) -> Sequence[Piece]:
        """Return the text that is not printed yet."""
        return (self._piece("\n".join(self.lines).rstrip(), ends=True),)

    def with_line(self, text: str, *, head: bool) -> OpenParagraph:
        """Return the block with this further line."""
        return msgspec.structs.replace(self, lines=(*self.lines, text), head=head)

    def with_more(self, text: str) -> OpenParagraph:
        """Return the block with more of its last line, which is long."""
        *before, last = self.lines
        return msgspec.structs.replace(self, lines=(*before, last + text), head=False)

    def as_heading(self, text: str) -> Heading | None:
        """Return the heading that an underline below makes of it, if it is one."""
        title = "\n".join(self.lines)
        if not (self.begins and _UNDERLINE.fullmatch(text)) or all(
            map(_DEFINITION.match, self.lines)  # link definitions cannot be underlined
        ):
            return None
        level = 1 if text[0] == "=" else 2
        return Heading(where=self.where, gap=self.gap, level=level, text=title.strip())

    def as_table(self, line: SourceLine) -> tuple[OpenParagraph | None, OpenTable] | None:
        """Return the rest, and the table that a delimiter line makes of its last line."""
        if not self.head or line.indent >= CODE_INDENT or "|" not in self.lines[-1]:
            return None
        aligns, header = parse_alignments(line.bare), split_row(self.lines[-1])
        if not aligns or len(header) != len(aligns):
            return None
        table = OpenTable(where=self.where, gap=self.gap, header=header, aligns=aligns)
        rest = self.lines[:-1]
        return (msgspec.structs.replace(self, lines=rest) if rest else None), table

    def cut(self, *, confirmed: bool) -> tuple[list[Piece], OpenParagraph]:
        """Return the complete sentences of a long paragraph, and the rest.

        The last line may yet become a table's header, unless it is so long that it is `confirmed`.
        """
        pieces: list[Piece] = []
        leaf = self
        while sum(map(len, leaf.lines)) > nodes.SOFT:
            lines, rest = (leaf.lines, ()) if confirmed else (leaf.lines[:-1], leaf.lines[-1:])
            text = "\n".join(lines)
            if leaf.begins and _DEFINITION.match(text) and len(text) < nodes.HARD:
                break
            end, searched = nodes.find_cut(text, leaf.searched)
            if not end:
                return pieces, msgspec.structs.replace(leaf, searched=searched)
            pieces.append(leaf._piece(text[:end], ends=False))
            kept = (*text[end:].split("\n"), *rest)
            leaf = msgspec.structs.replace(leaf, lines=kept, begins=False, searched=0)
        return pieces, leaf

    def _piece(self, text: str, *, ends: bool) -> Paragraph:
        return Paragraph(where=self.where, gap=self.gap, begins=self.begins, text=text, ends=ends)


class OpenTable(Leaf, frozen=True):
    """Table. `rows` are those not printed yet."""

    header: tuple[str, ...]
    aligns: tuple[Align, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """Name of the block for the display."""
        return "table"

    def ending(self) -> Sequence[Piece]:
        """Return the whole of a short table."""
        return (self._piece(),) if self.begins else ()

    def with_row(self, text: str) -> tuple[Sequence[Piece], OpenTable]:
        """Return the pieces that this row completes, and the rest."""
        cells = split_row(text)[: len(self.aligns)]
        row = cells + ("",) * (len(self.aligns) - len(cells))
        table = msgspec.structs.replace(self, rows=(*self.rows, row))
        if self.begins and len(table.rows) < MEASURED_ROWS:
            return (), table
        return (table._piece(),), msgspec.structs.replace(table, rows=(), begins=False)

    def _piece(self) -> TableNode:
        return TableNode(
            where=self.where,
            gap=self.gap,
            begins=self.begins,
            header=self.header,
            aligns=self.aligns,
            rows=self.rows,
        )


class Verbatim(Leaf, frozen=True):
    """Code of some kind, final line by line."""

    @property
    def language(self) -> str:
        """Language of the code, "" if unknown."""
        return ""

    @property
    def name(self) -> str:
        """The language, if known."""
        return self.language or "code"

    def goes_on(self, line: SourceLine) -> bool:
        """Return True if the line belongs to it, whatever it looks like."""
        return True

    def with_line(self, line: SourceLine) -> tuple[Sequence[Piece], Verbatim | None]:
        """Return the pieces that this line completes, and the rest: None at its end."""
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
        """Return an empty block for a fence without lines."""
        if not self.begins:
            return ()
        return (Code(where=self.where, gap=self.gap, language=self.language, text=None),)

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        """Return the lines to print, the rest, and whether it has ended."""
        return (line.rest,), self, False


class Fence(Verbatim, frozen=True):
    """Fenced code. `mark` is the opening row of ticks or tildes, `indent` its indentation."""

    mark: str
    info: str
    indent: int

    @property
    def language(self) -> str:
        """First word after the mark."""
        return self.info.split(maxsplit=1)[0] if self.info else ""

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        text = line.bare.rstrip(" \t")
        closes = len(text) >= len(self.mark) and text == self.mark[0] * len(text)
        if closes and line.indent < CODE_INDENT:
            return (), self, True
        line.drop(min(self.indent, line.indent))
        return (line.rest,), self, False


class Indented(Verbatim, frozen=True):
    """Indented code. Empty lines belong to it only if more code follows."""

    blanks: tuple[str, ...] = ()

    def goes_on(self, line: SourceLine) -> bool:
        """Return True for an indented or empty line."""
        return line.blank or line.indent >= CODE_INDENT

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        line.drop(CODE_INDENT)
        if line.blank:
            return (), msgspec.structs.replace(self, blanks=(*self.blanks, line.rest)), False
        return (*self.blanks, line.rest), msgspec.structs.replace(self, blanks=()), False


class HtmlBlock(Verbatim, frozen=True):
    """HTML block. `end` matches its last line; None if an empty line ends it."""

    end: re.Pattern[str] | None

    @property
    def language(self) -> str:
        """Always `html`."""
        return "html"

    def goes_on(self, line: SourceLine) -> bool:
        """Return True until its end."""
        return self.end is not None or not line.blank

    def _read(self, line: SourceLine) -> tuple[Sequence[str], Verbatim, bool]:
        return (line.rest,), self, bool(self.end and self.end.search(line.rest))


_UNDERLINE = re.compile(r"(?:=+|-+)[ \t]*")
_DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.)+\]:")
