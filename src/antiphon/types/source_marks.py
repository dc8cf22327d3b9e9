"""Marks such as `[2]` in the text of a reply: places in the list of sources that it cites."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping

_MARK = re.compile(r"\\.|\[(\d{1,3})\](?![(:])", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`\n]*$)|~{3,})")
_TICKS = re.compile(r"(?<!\\)`+")


def renumber_marks(text: str, start: int, numbers: Mapping[int, int]) -> str:
    """Return the Markdown with new numbers for the marks from the place `start` on.

    A mark whose number is not one of `numbers` stays, and so does what only looks like a mark: in
    code, or as the label of a link.
    """
    pieces: list[str] = []
    end = start
    for begin, stop in _find_prose(text):
        for found in _MARK.finditer(text, max(begin, start), max(stop, start)):
            number = numbers.get(int(found[1])) if found[1] else None
            if number is not None:
                pieces += (text[end : found.start()], f"[{number}]")
                end = found.end()
    return "".join((text[:start], *pieces, text[end:]))


def _find_prose(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the text that is not code, in order; the time grows with the length."""
    fence = ""
    begin = place = 0
    for line in text.splitlines(keepends=True):
        opened = _FENCE.match(line)
        if fence:
            closes = line.strip() == line.strip()[:1] * len(line.strip()) and opened is not None
            if closes and opened and opened[1].startswith(fence):
                fence, begin = "", place + len(line)
        elif opened is not None or not line.strip():
            yield from _find_inline_prose(text, begin, place)
            fence = opened[1] if opened is not None else ""
            begin = place + len(line)
        place += len(line)
    if not fence:
        yield from _find_inline_prose(text, begin, place)


def _find_inline_prose(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the places of a paragraph that are not between backticks."""
    runs = [(found.start(), found.end()) for found in _TICKS.finditer(text, begin, end)]
    places: defaultdict[int, list[int]] = defaultdict(list)
    for start, stop in runs:
        places[stop - start].append(start)
    for start, stop in runs:
        if start < begin:
            continue
        same = places[stop - start]
        place = bisect_left(same, stop)
        if place < len(same):
            yield begin, start
            begin = same[place] + stop - start
    yield begin, end
