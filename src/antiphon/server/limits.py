"""Limits on concurrent requests, shared fairly, and on a key's requests per minute."""

from __future__ import annotations

import collections
import time
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from antiphon.engine import accounts
from antiphon.ports import AdminStore
from antiphon.types.accounts import Counter, Principal
from antiphon.types.errors import Overloaded

LIGHT_AT_ONCE = 32
"""Concurrent light operations of all callers: more would only wait for the store."""
LIGHT_PER_CALLER = 5
"""Concurrent light operations of one caller: half of the ten connections to PostgreSQL."""
HEAVY_AT_ONCE = 8
"""Concurrent heavy operations: pages of messages, pieces of files."""
HEAVY_PER_CALLER = 2
"""Concurrent heavy operations of one caller: the number of SQLite readers."""


class ConcurrencyLimiter:
    """Limits open requests. A caller may have as many open as are still free, and always one.

    So a single caller gets at most half of them, and two callers a third each.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._held: collections.Counter[Hashable] = collections.Counter()

    @contextmanager
    def enter(self) -> Generator[bool]:
        """Count a request during the block; yields whether it is within the limit."""
        self.taken += 1
        try:
            yield self.taken <= self.most
        finally:
            self.taken -= 1

    @contextmanager
    def share(self, caller: Hashable) -> Generator[None]:
        """Count the request as this caller's. Raises `Overloaded` beyond the caller's share."""
        mine, free = self._held[caller], self.most - self.taken
        if mine and mine > free:
            raise Overloaded(
                "This key has too many requests open.",
                expected="no more than are left for the others",
                received=f"{mine + 1} open, {max(0, free)} left",
                retry_after=1,
            )
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]


# Requests per minute of limited keys, counted in the store for all processes.


MAX_REMEMBERED = 10_000


class RequestQuota:
    """Enforces the limit of requests per minute of a key.

    A key without a limit costs nothing; a key beyond its limit costs no access to the store.
    """

    def __init__(self, store: AdminStore) -> None:
        self._store = store
        self._refused: dict[tuple[str, int], float] = {}

    async def admit(self, by: Principal) -> None:
        """Count a request. Raises `QuotaExceeded`."""
        limit = by.limits.requests_per_minute
        if by.key_id is None or limit is None:
            return
        left = self._refused.get((by.key_id, limit), 0.0) - time.monotonic()
        if left > 0:
            raise accounts.request_limit_error(limit, left)
        counted = await self._store.count_usage(Counter(by.key_id, "requests"), 1)
        if counted.total > limit:
            left = accounts.seconds_left_in_minute(counted.now)
            if len(self._refused) >= MAX_REMEMBERED:
                self._refused.clear()
            self._refused[by.key_id, limit] = time.monotonic() + left
            raise accounts.request_limit_error(limit, left)
