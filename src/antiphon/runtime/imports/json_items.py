"""Reads the items of a JSON array one after the other, however long the array is.

Only one item is in memory at a time. The text is split at the level of the array; `msgspec` decodes
and checks each item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from antiphon.types.errors import InvalidRequest

_BLANKS = b" \t\r\n"
_OUTSIDE = re.compile(rb'["{}\[\],]')
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""Everything up to the end of a text, or up to a backslash at the end of a piece."""

MAX_SIGNS = 4_000_000
"""Brackets, commas and texts of one item."""


def read_items(
    pieces: Iterable[bytes], limit: int, max_signs: int = MAX_SIGNS
) -> Iterator[bytes | None]:
    """Yield the text of each item of the array in these pieces; one object counts as one item.

    None stands for an item of more than `limit` bytes, or of more than `max_signs` brackets, commas
    and texts: what is decoded may take many times the memory of its text. Raises `InvalidRequest`
    for a text that is no array or is cut off.
    """
    reader = _JsonItemReader(limit, max_signs)
    for piece in pieces:
        yield from reader.feed(piece)
    if not reader.is_complete:
        raise InvalidRequest(
            "The JSON of the export is cut off.",
            expected="a list of conversations with its end",
            hint="Download the export again.",
        )


class _JsonItemReader:
    def __init__(self, limit: int, max_signs: int) -> None:
        self._limit = limit
        self._max_signs = max_signs
        self._depth = -1  # of the array: -1 before its beginning
        self._in_text = False
        self._skip = False  # the next byte is escaped
        self._item: list[bytes] = []
        self._size = 0
        self._signs = 0
        self._single = False
        self.is_complete = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        place = start = 0
        if self._depth < 0:
            place = start = self._begin(piece)
            if self._depth < 0:
                return
        while place < len(piece):
            if self._in_text:
                place = self._leave_text(piece, place)
                continue
            found = _OUTSIDE.search(piece, place)
            if found is None:
                break
            place = found.end()
            sign = found[0]
            self._signs += 1
            if sign == b'"':
                self._in_text = True
            elif sign in b"{[":
                self._depth += 1
            elif sign in b"}]":
                self._depth -= 1
                if self._depth < 0 or (self._single and self._depth == 0):
                    yield from self._end(piece[start : place if self._single else place - 1])
                    self._depth, self.is_complete = 0, True
                    return
            elif self._depth == 0:
                yield from self._end(piece[start : place - 1])
                start = place
        self._keep(piece[start:])

    def _begin(self, piece: bytes) -> int:
        """Find the beginning of the array; return the place behind it."""
        rest = piece.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANKS)
        if not rest:
            return len(piece)
        self._single = rest[:1] == b"{"
        if not self._single and rest[:1] != b"[":
            raise InvalidRequest("The export is no JSON list.", expected="[ at its beginning")
        self._depth = 0
        return len(piece) - len(rest) + (0 if self._single else 1)

    def _leave_text(self, piece: bytes, place: int) -> int:
        if self._skip:
            self._skip = False
            return place + 1
        found = _INSIDE.match(piece, place)
        end = found.end() if found else place
        if end < len(piece):
            self._skip = piece[end : end + 1] == b"\\"
            self._in_text = self._skip
            end += 1
        return end

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._is_too_large():
            self._item = []
        else:
            self._item.append(part)

    def _end(self, part: bytes) -> Iterator[bytes | None]:
        self._keep(part)
        item = None if self._is_too_large() else b"".join(self._item).strip(_BLANKS)
        self._item, self._size, self._signs = [], 0, 0
        if item != b"":
            yield item

    def _is_too_large(self) -> bool:
        return self._size > self._limit or self._signs > self._max_signs
