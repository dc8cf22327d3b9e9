"""Limits on concurrent requests, shared fairly between callers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from antiphon.types.errors import Overloaded

AT_ONCE = 32
"""Concurrent light operations of all callers: more would only wait for the store."""
OF_ONE = 5
"""Concurrent light operations of one caller: half of the ten connections to PostgreSQL."""
HEAVY_AT_ONCE = 8
"""Concurrent heavy operations: pages of messages, pieces of files."""
HEAVY_OF_ONE = 2
"""Concurrent heavy operations of one caller: the number of SQLite readers."""


class ConcurrencyLimiter:
    """Limits open requests. A caller may hold as many as are still free, and always one.

    A single caller gets at most half of them, two callers a third each, and a new one finds room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def enter(self) -> Generator[bool]:
        """Count a request during the block; yields whether it is within the limit."""
        self.taken += 1
        try:
            yield self.taken <= self.most
        finally:
            self.taken -= 1

    @contextmanager
    def share(self, who: Hashable) -> Generator[None]:
        """Count the request as this caller's. Raises `Overloaded` beyond the caller's share."""
        mine, free = self._held[who], self.most - self.taken
        if mine and mine > free:
            raise Overloaded(
                "This key has too many requests open.",
                expected="no more than are left for the others",
                received=f"{mine + 1} open, {max(0, free)} left",
                retry_after=1,
            )
        self._held[who] += 1
        try:
            yield
        finally:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]
