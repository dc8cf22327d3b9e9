"""Bytes of responses that are held in memory until their readers take them.

A response of more than `PIECE` bytes counts from its creation until the last of it is passed to its
connection, which takes a piece only when the reader has taken the previous ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import contextmanager
from typing import Any

from antiphon.types.errors import Overloaded

Send = Callable[[Any], Any]
"""ASGI's `send`."""

PIECE = 65_536
"""Bytes passed to a connection at once; responses that are no larger are not counted."""

WRITE = "antiphon.write"
"""ASGI extension that makes and sends a piece of the body if the connection has room for it."""

UNSENT = "antiphon.unsent_bytes"
"""ASGI extension with the `UnsentBytes` of the process, as `bytes`."""


class UnsentBytes:
    """The bytes that a process holds for its readers, at most `most`.

    A caller may hold as many as are left for the others, so a single caller gets half of them. A
    single response is always held when there is no other.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def hold(self, caller: Hashable, size: int) -> Generator[None]:
        """Count these bytes as the caller's during the block. Raises `Overloaded`."""
        mine, free = self._held[caller], self.most - self.total - size
        if self.total and (free < 0 or (mine and mine + size > free)):
            raise Overloaded(
                "Too much that was answered before has not been read yet.",
                expected=f"at most {self.most} bytes of answers that wait for their readers,"
                " and of one caller no more than are left for the others",
                received=f"{mine} bytes of this caller's, {self.total} of all",
                hint="Read the answers that are open, or close their connections.",
                retry_after=1,
            )
        self.total += size
        self._held[caller] += size
        try:
            yield
        finally:
            self.total -= size
            self._held[caller] -= size
            if not self._held[caller]:
                del self._held[caller]


@contextmanager
def hold_bytes(scope: Mapping[str, Any], caller: Hashable, size: int) -> Generator[None]:
    """Count the bytes of a large response, where the server limits unsent bytes."""
    unsent: UnsentBytes | None = scope.get("extensions", {}).get(UNSENT, {}).get("bytes")
    if unsent is None or size <= PIECE:
        yield
        return
    with unsent.hold(caller, size):
        yield


async def send_body(send: Send, body: bytes) -> None:
    """Send a whole body; return when the connection has room for more.

    A long body is sent in pieces, because a connection keeps what it is given until it is read.
    """
    if len(body) <= PIECE:
        await send({"type": "http.response.body", "body": body})
        return
    rest = memoryview(body)
    for start in range(0, len(rest), PIECE):
        piece = bytes(rest[start : start + PIECE])
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
