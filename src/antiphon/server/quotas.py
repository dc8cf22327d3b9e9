"""Requests per minute of limited keys, counted in the store for all processes."""

from __future__ import annotations

import time

from antiphon.engine import accounts
from antiphon.ports import AdminStore
from antiphon.types.accounts import Counter, Principal

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
            self._remember_refusal((by.key_id, limit), left)
            raise accounts.request_limit_error(limit, left)

    def _remember_refusal(self, whose: tuple[str, int], left: float) -> None:
        if len(self._refused) >= MAX_REMEMBERED:
            self._refused.clear()
        self._refused[whose] = time.monotonic() + left
