"""Queue of searches: one per owner at a time, some in all, each in bounded time.

A search reads everything that its owner has. Without a queue, one owner's searches could occupy all
threads or connections.
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
"""Limit of the wait for a turn, and of the search itself."""


class SearchQueue:
    """Gives searches their turns; of the waiting owners the longest wait is next."""

    def __init__(
        self, at_once: int = MAX_CONCURRENT_SEARCHES, seconds: float = SEARCH_SECONDS
    ) -> None:
        self.seconds = seconds
        self._room = asyncio.Semaphore(at_once)
        self._owners: dict[str | None, asyncio.Lock] = {}
        self._callers: Counter[str | None] = Counter()  # running and waiting searches

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
