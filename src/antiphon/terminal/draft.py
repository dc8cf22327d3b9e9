"""What a person types, as rows of the region: folded by cells, the cursor where it stands."""

from __future__ import annotations

from antiphon.clean import clean
from antiphon.terminal import cells, spans
from antiphon.terminal.painters import Typed
from antiphon.terminal.spans import Line, Span

MOST_ROWS = 8
"""Rows of a long draft that are seen at once, the cursor's among them."""

NEAR = 10_000
"""Characters before and behind the cursor that are looked at: more than there are rows for."""


def typed(text: str, at: int, columns: int, *, mark: str = "> ", most: int = MOST_ROWS) -> Typed:
    """The rows of this text in so many columns, the cursor before its character number `at`.

    Its lines stand behind the `mark` and blanks as wide. What would act on the terminal is shown.
    """
    text, at = _near(text, at)
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


def _near(text: str, at: int) -> tuple[str, int]:
    """The part of a pasted book that may be seen, and where the cursor is in it."""
    first = max(0, at // NEAR - 1) * NEAR  # in steps, for its rows should stay as they are broken
    return text[first : first + 3 * NEAR], at - first


def _rows(text: str, room: int) -> list[Line]:
    return [row for line in text.split("\n") for row in spans.folded([Span(line)], room)]
