"""Lists for people: columns as wide as they must be, and nothing that acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from antiphon.clean import one_line


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of columns under their names."""
    lines = [[one_line(text) for text in row] for row in (head, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def moment(milliseconds: int | None) -> str:
    """A time in milliseconds since 1970, in this machine's zone; empty for none."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
