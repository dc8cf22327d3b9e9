"""Searches take turns: one of an owner at a time, some of all, each in bounded time.

A search reads everything that its owner has. Without turns, one owner's would keep the others' from
the threads or connections that all of them share.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from antiphon.types.errors import Overloaded

MAX_CONCURRENT_SEARCHES = 2
"""Searches of different owners that run together in a process."""
SEARCH_SECONDS = 10.0
"""For how long a search may wait for its turn, and how long it may then take."""


class SearchQueue:
    """Turns for searches. Of owners who wait, the one who has waited longest is next."""

    def __init__(
        self, at_once: int = MAX_CONCURRENT_SEARCHES, seconds: float = SEARCH_SECONDS
    ) -> None:
        self.seconds = seconds
        self._room = asyncio.Semaphore(at_once)
        self._owners: dict[str | None, asyncio.Lock] = {}
        self._callers: Counter[str | None] = Counter()  # those who search and those who wait

    @asynccontextmanager
    async def turn(self, owner: str | None) -> AsyncGenerator[None]:
        """Wait for the owner's turn. Raises `Overloaded` when that takes too long."""
        own = self._owners.setdefault(owner, asyncio.Lock())
        self._callers[owner] += 1
        patience = asyncio.timeout(self.seconds)
        try:
            async with patience, own, self._room:
                patience.reschedule(None)
                yield
        except TimeoutError:
            if not patience.expired():
                raise
            raise Overloaded(
                "Too many searches wait.",
                expected=f"a turn within {self.seconds:g} seconds",
                hint="Wait for the searches that you have asked for.",
                retry_after=1,
            ) from None
        finally:
            self._callers[owner] -= 1
            if not self._callers[owner]:
                del self._callers[owner], self._owners[owner]


def search_timeout_error(seconds: float) -> Overloaded:
    """Return the error of a search that was broken off after so many seconds."""
    return Overloaded(
        "The search took too long and was broken off.",
        expected=f"an answer within {seconds:g} seconds",
        hint="Fewer and longer words are found faster; so are words of recent threads."
        " The setting search_timeout is how long a search may take.",
        retry_after=5,
    )
