"""What a server does at once, shared out: nobody takes all of it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from antiphon.types.errors import Overloaded

AT_ONCE = 32
"""Short calls of all callers that run together: more only wait for one another in the store."""
OF_ONE = 5
"""Of one caller: the other half of a process's ten connections to PostgreSQL is for others."""
HEAVY_AT_ONCE = 8
"""Pages of messages, and pieces of files, that are made together."""
HEAVY_OF_ONE = 2
"""Of one caller: as many as SQLite has readers."""


class ConcurrencyLimiter:
    """Open requests. A caller may hold as many as are still free, and always one.

    So alone it gets at most half of them, with another one a third, and a newcomer finds room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def enter(self) -> Generator[bool]:
        """A place for a request, whoever asks; says whether there was one."""
        self.taken += 1
        try:
            yield self.taken <= self.most
        finally:
            self.taken -= 1

    @contextmanager
    def share(self, who: Hashable) -> Generator[None]:
        """The place belongs to this caller. Raises `Overloaded` if it has its share already."""
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
