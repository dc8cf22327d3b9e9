"""Rows of cells that stand one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from antiphon.clean import one_line
from antiphon.terminal import cells, spans
from antiphon.terminal.spans import Line, Span

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat


def show(chat: Chat, rows: Sequence[Sequence[str]]) -> None:
    """The rows, the first column to the left; what is too wide is cut."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cells.width, column)) for column in zip(*cleaned, strict=True)]
    chat.surface.show_rows(_aligned(row, widths) for row in cleaned)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Line:
    first, *rest = zip(row, widths, strict=True)
    name, width = first
    head = Span(name + " " * (width - cells.width(name)), "mark")
    return spans.stripped(
        (head, *(Span(" " * (2 + width - cells.width(cell)) + cell) for cell, width in rest))
    )
