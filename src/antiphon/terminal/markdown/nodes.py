"""The parser's input and output: lines of Markdown source, and pieces that can be printed."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

CODE_INDENT = 4
"""Indentation from which on a line is code, or continues a paragraph, and starts nothing else."""


class SourceLine:
    """A line from which the marks of containers are removed, column by column."""

    def __init__(self, text: str) -> None:
        self.rest = text
        self._column: int = 0

    @property
    def bare(self) -> str:
        """The rest without leading white space."""
        return self.rest.lstrip(" \t")

    @property
    def blank(self) -> bool:
        """True if only white space is left."""
        return not self.bare

    @property
    def indent(self) -> int:
        """Columns of white space before the rest."""
        column = self._column
        for letter in self.rest:
            if letter == " ":
                column += 1
            elif letter == "\t":
                column += 4 - column % 4
            else:
                break
        return column - self._column

    def drop(self, columns: int) -> None:
        """Remove white space; part of a tab leaves blanks."""
        while columns and self.rest[:1] in (" ", "\t"):
            width: int = 1 if self.rest[0] == " " else 4 - self._column % 4
            if width > columns:
                self.rest = " " * width + self.rest[1:]
                width = 1
            self.rest = self.rest[1:]
            self._column += width
            columns -= width

    def skip(self, letters: int) -> None:
        """Remove characters that take one column each."""
        self.rest = self.rest[letters:]
        self._column += letters

    def quote(self) -> bool:
        """Remove the mark of a quote; return False if there is none."""
        if self.indent >= CODE_INDENT or not self.bare.startswith(">"):
            return False
        self.drop(self.indent)
        self.skip(1)
        self.drop(1)
        return True


# Cuts of a long paragraph: after a sentence, outside emphasis, code and links.


SOFT = 400
"""Characters from which on a paragraph is long: four lines of prose."""

HARD = 2_000
"""Characters after which it is cut at a blank even within a mark: one stray backtick must not make
the rest of an answer slow."""

_CLOSING = "\"')\\]}*_~`\u00bb\u2019\u201d"  # may follow a full stop
_END = re.compile(
    rf"[.!?\u2026][{_CLOSING}]{{0,8}}(?= [^\s]|\n[^\s])|[\u3002\uff01\uff1f](?=[^\W_])"
)
_BLANK = re.compile(r"\s(?=\S)")
_MARK = re.compile(
    r"""\\. | (?P<ticks>`+) | (?P<bracket>\]\(|[\[\])]) | (?P<run>\*+|_+|~~)
      | (?P<tag><(?=[A-Za-z/!?]))""",
    re.VERBOSE | re.DOTALL,
)


def find_cut(text: str, start: int) -> tuple[int, int]:
    """Return where `text` may be cut first, 0 if nowhere yet, and where to search next."""
    for end in _END.finditer(text, max(start, SOFT), min(len(text), HARD + 1)):
        if is_settled(text[: end.end()]):
            return end.end(), 0
    if len(text) <= HARD + 1:
        # A sentence may end with the last letters, once what follows them is known.
        return 0, max(SOFT, len(text) - 64)
    if blank := _BLANK.search(text, HARD, 2 * HARD):
        return blank.start(), 0
    return (2 * HARD, 0) if len(text) > 2 * HARD else (0, HARD)


def is_settled(text: str) -> bool:
    """Return True if no mark in the text is open. In doubt, one is."""
    waiting: dict[str, int] = {}
    at = 0
    while mark := _MARK.search(text, at):
        at = mark.end()
        match mark.lastgroup:
            case "ticks":
                close = re.compile(rf"(?<!`){mark[0]}(?!`)").search(text, at)
                at = close.end() if close else -1
            case "tag":
                at = text.find(">", at)
            case "bracket":
                for ended in _ENDED[mark[0]]:
                    waiting[ended] = max(0, waiting.get(ended, 0) - 1)
                for begun in _BEGUN[mark[0]]:
                    waiting[begun] = waiting.get(begun, 0) + 1
            case "run":
                kind, size = mark[0][0], len(mark[0])
                before, after = text[: mark.start()][-1:], text[at : at + 1]
                within = kind == "_" and before.isalnum() and after.isalnum()
                # A run that closes or opens touches a word on that side.
                closes = not within and bool(before.strip())
                opens = not within and bool(after.strip())
                if closes and waiting.get(kind):
                    waiting[kind] = max(0, waiting[kind] - size)
                elif opens:
                    waiting[kind] = waiting.get(kind, 0) + size
            case _:
                pass
        if at < 0:
            return False
    return not any(waiting.values())


_ENDED = {"[": "", "](": "[", "]": "[", ")": "("}
_BEGUN = {"[": "[", "](": "(", "]": "", ")": ""}


# Pieces can no longer change, and are in the order in which they are printed. A piece is a block,
# or part of a long one. It names its containers, so that a fence in a list in a quote is printed
# before the quote ends.


Kind = Literal["text", "markdown", "code", "table", "json", "sql", "html"]
"""Kind of a reply's text."""
Align = Literal["", "left", "center", "right"]


class Quote(msgspec.Struct, frozen=True):
    """Block quote; `serial` distinguishes it from the next one."""

    serial: int


class Item(msgspec.Struct, frozen=True):
    """List item: `mark` is its mark in the source, such as `-` or `)`.

    `number` is the number to show, None in a bullet list. `indent` is the indentation of its
    content in the source. Items of one list share a `series`.
    """

    serial: int
    series: int
    mark: str
    number: int | None
    indent: int


Container = Quote | Item
Where = tuple[Container, ...]
"""The containers of a piece, from the outside in."""


class _Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Base. `gap` asks for an empty line before it; `begins` and `ends` mark parts of a block.

    A block whose last part has no text ends without a piece.
    """

    where: Where = ()
    gap: bool = False
    begins: bool = True


class Paragraph(_Piece, frozen=True):
    """Running text with its inline marks. Parts of one paragraph join without a blank."""

    text: str
    ends: bool = True


class Heading(_Piece, frozen=True):
    """Heading of level 1 to 6."""

    level: int
    text: str


class Code(_Piece, frozen=True):
    """Whole lines of code, without the last line feed; None for a fence without lines."""

    language: str
    text: str | None


class TableNode(_Piece, frozen=True):
    """Rows of a table. Only the first part has the `header`."""

    header: tuple[str, ...]
    aligns: tuple[Align, ...]
    rows: tuple[tuple[str, ...], ...]


class Rule(_Piece, frozen=True):
    """Thematic break."""


class Empty(_Piece, frozen=True):
    """Container without content, such as a list item that is yet to be written."""


Piece = Paragraph | Heading | Code | TableNode | Rule | Empty
