"""Pieces of Markdown that can no longer change, in the order in which they are printed.

A piece is a block, or part of a long one. It names its containers, so that a fence in a list in a
quote is printed before the quote ends.
"""

from __future__ import annotations

from typing import Literal

import msgspec

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
