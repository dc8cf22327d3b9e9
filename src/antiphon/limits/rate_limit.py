"""Rates: how often a caller may do something in a time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network

from antiphon.types.errors import NotFound, TooMany

Clock = Callable[[], float]
MAX_REMEMBERED = 10_000
GUESSES_OF_LINKS = 50
GUESSES_WITHIN = 900.0
"""Seconds in which a caller may try `GUESSES_OF_LINKS` unknown links; logins use the same time."""


class RateLimit:
    """Token bucket for each key: `many` in `seconds`, refilled steadily.

    A key that was idle may do `many` in a row.
    """

    def __init__(self, many: int, seconds: float, what: str, clock: Clock = time.monotonic) -> None:
        self._many = many
        self._seconds = seconds
        self._what = what
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one. Raises `TooMany` with the time to wait, and then counts nothing."""
        with self._lock:
            now = self._clock()
            spent = self._current_spending(key, now)
            if spent + 1 > self._many:
                raise TooMany(
                    f"Too many {self._what} in a short while.",
                    expected=f"{self._many} in {self._seconds:g} seconds",
                    retry_after=math.ceil((spent + 1 - self._many) / self._pace),
                )
            self._remember(key, spent + 1, now)

    def refund(self, key: str) -> None:
        """Refund one that was counted."""
        with self._lock:
            now = self._clock()
            self._remember(key, max(0.0, self._current_spending(key, now) - 1), now)

    @property
    def _pace(self) -> float:
        return self._many / self._seconds

    def _current_spending(self, key: str, now: float) -> float:
        spent, at = self._spent.get(key, (0.0, now))
        return max(0.0, spent - (now - at) * self._pace)

    def _remember(self, key: str, spent: float, now: float) -> None:
        self._spent[key] = (spent, now)
        if len(self._spent) > MAX_REMEMBERED:
            self._spent = {
                other: entry
                for other, entry in self._spent.items()
                if self._current_spending(other, now) > 0
            }
        while len(self._spent) > MAX_REMEMBERED:  # still too many: forget the oldest
            del self._spent[next(iter(self._spent))]


class LinkGuesses:
    """Rate limit on requests for unknown links, for each key or network."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._limit = RateLimit(GUESSES_OF_LINKS, GUESSES_WITHIN, "unknown links", clock)

    @contextmanager
    def count(self, key: str) -> Generator[None]:
        """Count the block if it raises `NotFound`; raise `TooMany` in its place for too many.

        A link that exists is never refused: all readers behind a proxy may have one address.
        """
        try:
            yield
        except NotFound:
            self._limit.take(key)
            raise


def network_key(address: str) -> str:
    """Return the key of an address: for IPv6 its /64 network, in which a client can change it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), 64), strict=False))
