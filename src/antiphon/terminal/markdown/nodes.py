"""What Markdown is made of once it can no longer change: pieces, in the order they are printed.

A piece is a block, or a part of a long one. It says which containers it stands in, so that a
fence in a list in a quote needs nobody to wait for the end of the quote.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Align = Literal["", "left", "center", "right"]


class Quote(msgspec.Struct, frozen=True):
    """A block quote; `serial` tells it from the next one."""

    serial: int


class Item(msgspec.Struct, frozen=True):
    """An item of a list: `mark` is what the source has, such as `-` or `)`.

    `number` is the one to show, None without order. `indent` is how far its content stands to the
    right in the source. Items of one list have its `series`.
    """

    serial: int
    series: int
    mark: str
    number: int | None
    indent: int


Container = Quote | Item
Where = tuple[Container, ...]
"""The containers that a piece stands in, from the outside in."""


class _Piece(msgspec.Struct, frozen=True, kw_only=True):
    """`gap` asks for an empty line before it; `begins` and `ends` say which part of a block it is.

    A block whose last part had nothing left to say ends without a piece that says so.
    """

    where: Where = ()
    gap: bool = False
    begins: bool = True


class Paragraph(_Piece, frozen=True):
    """Running text, its inline marks not yet read. Parts of one paragraph join without a blank."""

    text: str
    ends: bool = True


class Heading(_Piece, frozen=True):
    """A heading of level 1 to 6."""

    level: int
    text: str


class Code(_Piece, frozen=True):
    """Whole lines of code, without the last line feed; None where a fence has no line at all."""

    language: str
    text: str | None


class Table(_Piece, frozen=True):
    """Rows of a table. Only the first part has the `header`."""

    header: tuple[str, ...]
    aligns: tuple[Align, ...]
    rows: tuple[tuple[str, ...], ...]


class Rule(_Piece, frozen=True):
    """A thematic break."""


class Empty(_Piece, frozen=True):
    """A container without content, such as an item of a list that is yet to be written."""


Piece = Paragraph | Heading | Code | Table | Rule | Empty
