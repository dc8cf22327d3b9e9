"""Messages out of bytes: one a line, and of those that are too long only whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable

LARGEST = 32 * 1024 * 1024
"""Bytes of one message: what is larger is thrown away as it comes, and its call fails."""
EDGE = 256
"""Bytes that are kept of either end of one that is too long."""


class Lines:
    """Lines out of bytes in any pieces, none longer than `largest`.

    Of a longer one only head and tail are kept, and handed to `too_long`.
    """

    def __init__(
        self,
        line: Callable[[bytes], None],
        too_long: Callable[[bytes, bytes], None],
        largest: int = LARGEST,
    ) -> None:
        self._line = line
        self._too_long = too_long
        self._largest = largest
        self._pieces: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._close()
        self._add(rest)

    def close(self) -> None:
        """No more bytes: what is left is a line too."""
        if self._size:
            self._close()

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._skipping:
            self._tail = (self._tail + piece)[-EDGE:]
            return
        if piece:
            self._pieces.append(piece)
        if self._size > self._largest:
            gathered = b"".join(self._pieces)
            self._head, self._tail = gathered[:EDGE], gathered[-EDGE:]
            self._pieces, self._skipping = [], True

    def _close(self) -> None:
        if self._skipping:
            self._too_long(self._head, self._tail)
        else:
            self._line(b"".join(self._pieces))
        self._pieces, self._size, self._skipping = [], 0, False


def answered(head: bytes, tail: bytes) -> int | None:
    """The id of the request that a reply is for, from its ends alone; None where it is not seen.

    SDKs write it first or last; ours are numbers.
    """
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return int(found[1]) if found else None


_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
