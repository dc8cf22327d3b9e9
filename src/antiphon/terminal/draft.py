"""What a person types, as rows of the region: folded by cells, the cursor where it stands."""

from __future__ import annotations

from antiphon.clean import clean
from antiphon.terminal import cells, spans
from antiphon.terminal.painters import Typed
from antiphon.terminal.spans import Line, Span

MOST_ROWS = 8
"""Rows of a long draft that are seen at once, the cursor's among them."""


def typed(text: str, at: int, columns: int, *, mark: str = "> ", most: int = MOST_ROWS) -> Typed:
    """The rows of this text in so many columns, the cursor before its character number `at`.

    Its lines stand behind the `mark` and blanks as wide. What would act on the terminal is shown.
    """
    margin = cells.width(mark)
    room = max(1, columns - 1 - margin)  # the last column stays free
    before, after = clean(text[:at]), clean(text[at:])
    shown = _rows(before + after, room)
    reached = _rows(before, room)
    row, column = len(reached) - 1, spans.width(reached[-1])
    if column >= room:
        row, column = row + 1, 0
        if row == len(shown) or after.startswith("\n"):
            shown.insert(row, ())
    first = min(max(0, row - most + 1), max(0, len(shown) - most))
    marked = [
        (Span(" " * margin if number else mark, "mark"), *line) for number, line in enumerate(shown)
    ]
    return Typed(rows=tuple(marked[first : first + most]), cursor=(row - first, margin + column))


def _rows(text: str, room: int) -> list[Line]:
    return [row for line in text.split("\n") for row in spans.folded([Span(line)], room)]
