"""The bodies of requests on their way in: each within its size and time, all within some room.

They are read before anybody knows who asks, so nobody may fill the memory with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from antiphon.errors import Overloaded, TooLarge
from antiphon.problems import TooSlow

Receive = Callable[[], Any]

AT_ONCE = 8
"""Bodies of the largest size that are held at once."""
PAUSE = 30.0
"""Seconds for which a body may stand still."""


class Left(Exception):
    """Who asked has gone."""


class Bodies:
    """Reads bodies of at most `largest` bytes, which may stand still for `pause` seconds."""

    def __init__(self, largest: int, pause: float = PAUSE) -> None:
        self._largest = largest
        self._pause = pause
        self._room = largest * AT_ONCE

    @asynccontextmanager
    async def read(self, receive: Receive) -> AsyncGenerator[bytes]:
        """The body, which has its room for as long as this is entered.

        Raises `TooLarge`, `TooSlow`, `Overloaded`, and `Left`.
        """
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                piece, more = await _piece(receive, self._pause)
                size += len(piece)
                self._room -= len(piece)
                self._check(size)
                pieces.append(piece)
            yield b"".join(pieces)
        finally:
            self._room += size

    def _check(self, size: int) -> None:
        if size > self._largest:
            raise TooLarge("The body is too large.", expected=f"at most {self._largest} bytes")
        if self._room < 0:
            raise Overloaded("Too much is being sent at once.", hint="Try again in a moment.")


async def _piece(receive: Receive, pause: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(pause):
            message = await receive()
    except TimeoutError as error:
        raise TooSlow(
            f"Nothing more of the body came for {pause:g} seconds.", expected="the whole body"
        ) from error
    if message["type"] == "http.disconnect":
        raise Left
    return message.get("body", b""), message.get("more_body", False)
