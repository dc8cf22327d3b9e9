"""Newline-delimited messages; of a message that is too long, only its two ends are kept."""

from __future__ import annotations

import re
from collections.abc import Callable

LARGEST = 32 * 1024 * 1024
"""Bytes of one message. A larger one is discarded as it arrives, and its call fails."""
EDGE = 256
"""Bytes kept of each end of a message that is too long."""


class LineSplitter:
    """Split bytes into lines of at most `largest` bytes.

    Of a longer line, `too_long` receives the head and the tail.
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
        """Add bytes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._close()
        self._add(rest)

    def close(self) -> None:
        """Emit what is left as the last line."""
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


def reply_id(head: bytes, tail: bytes) -> int | None:
    """Return the id of the request that a reply answers, found in its ends; None if not found.

    SDKs write the id first or last. Our ids are numbers.
    """
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return int(found[1]) if found else None


_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
