"""Styled text, before anything is known of the terminal: spans, and lines of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from antiphon.terminal import cells


class Span(NamedTuple):
    """Text of one style; `style` names roles, parted by blanks, which a theme gives their look.

    `link` is where it leads, as the source has it: whoever writes it decides if it may.
    """

    text: str
    style: str = ""
    link: str = ""


Line = tuple[Span, ...]


def text(line: Iterable[Span]) -> str:
    """What is read."""
    return "".join(span.text for span in line)


def width(line: Iterable[Span]) -> int:
    """The cells that it takes."""
    return sum(cells.width(span.text) for span in line)


def stripped(line: Sequence[Span]) -> Line:
    """Without blanks at its end."""
    kept = list(line)
    while kept:
        last = kept.pop()
        if rest := last.text.rstrip(" "):
            return (*kept, last._replace(text=rest))
    return ()


def clipped(line: Iterable[Span], columns: int, end: str = "") -> Line:
    """Its beginning, and `end` where something is missing, in so many cells."""
    line = _untabbed(line)
    if width(line) <= columns:
        return line
    left = columns - cells.width(end)
    kept: list[Span] = []
    for span in line:
        part = cells.head(span.text, left)
        kept.append(span._replace(text=part))
        left -= cells.width(part)
        if part != span.text:
            break
    return (*kept, Span(end))


def folded(line: Iterable[Span], columns: int) -> list[Line]:
    """The rows that it takes in so many columns, broken wherever they end."""
    rows: list[list[Span]] = [[]]
    left = columns
    for span in _untabbed(line):
        rest = span.text
        while rest:
            part = cells.head(rest, left)
            if not part and left == columns:
                part = rest[:1]  # wider than a row: it must go somewhere
            if part:
                rows[-1].append(span._replace(text=part))
                left -= cells.width(part)
                rest = rest[len(part) :]
            if rest:
                rows.append([])
                left = columns
    return [tuple(row) for row in rows]


def all_folded(lines: Iterable[Line], columns: int) -> list[Line]:
    """The rows that these lines take in so many columns, one at least."""
    return [row for line in lines for row in folded(line, max(1, columns))]


def wrapped(line: Iterable[Span], columns: int) -> list[Line]:
    """The rows that it takes in so many columns, broken at blanks.

    A word that is longer than a row is left to the terminal: who copies an address gets it whole.
    """
    line = _untabbed(line)
    whole = text(line)
    rows: list[Line] = []
    at = 0
    while at < len(whole) or not rows:
        end = _row_end(whole, at, columns)
        rows.append(tuple(_part(line, at, end)))
        at = end + 1 if whole[end : end + 1] == " " else end
    return rows


def _row_end(whole: str, at: int, columns: int) -> int:
    # A slice, so that a long text is not looked through once for each row; no letter is without
    # width so often that it matters.
    part = cells.head(whole[at : at + 8 * columns], columns)
    end = at + max(1, len(part))
    if end >= len(whole) or whole[end] == " ":
        return end
    blank = whole.rfind(" ", at, end)
    if blank > at and whole[at:blank].strip():
        return blank
    after = whole.find(" ", end)
    return after if after > 0 else len(whole)


def _part(line: Line, start: int, end: int) -> Iterator[Span]:
    at = 0
    for span in line:
        if piece := span.text[max(0, start - at) : max(0, end - at)]:
            yield span._replace(text=piece)
        at += len(span.text)


def _untabbed(line: Iterable[Span]) -> Line:
    line = tuple(line)
    if not any("\t" in span.text for span in line):
        return line
    column = 0
    found: list[Span] = []
    for span in line:
        parts: list[str] = []
        for number, part in enumerate(span.text.split("\t")):
            if number:
                blanks = cells.TAB - column % cells.TAB
                parts.append(" " * blanks)
                column += blanks
            parts.append(part)
            column += cells.width(part)
        found.append(span._replace(text="".join(parts)))
    return tuple(found)
