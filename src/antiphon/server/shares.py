"""What a server does at once, shared out: nobody takes all of it from the others."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator, Hashable
from contextlib import asynccontextmanager, contextmanager

from antiphon.errors import Overloaded

AT_ONCE = 32  # works: more of them only wait for one another in the store
OF_ONE = 5  # of the ten connections that a process has to PostgreSQL: others find one free
PATIENCE = 10.0  # seconds: who waits longer is told to come again


class Places:
    """Open requests. A caller may hold as many as are still free, and always one.

    So alone it gets at most half of them, with another one a third, and a newcomer finds room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def place(self) -> Generator[bool]:
        """A place for a request, whoever asks; says whether there was one."""
        self.taken += 1
        try:
            yield self.taken <= self.most
        finally:
            self.taken -= 1

    @contextmanager
    def held(self, who: Hashable) -> Generator[None]:
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


class Turns:
    """Short works. Callers take turns, however many each has waiting; nobody has all at once."""

    def __init__(self, at_once: int = AT_ONCE, of_one: int = OF_ONE) -> None:
        self._free = at_once
        self._of_one = of_one
        self._at_work: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, who: Hashable) -> AsyncGenerator[None]:
        """Wait until it is this caller's turn. Raises `Overloaded` when that takes too long."""
        if self._may(who) and who not in self._waiting:
            self._begin(who)
        else:
            await self._wait(who)
        try:
            yield
        finally:
            self._end(who)

    async def _wait(self, who: Hashable) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), PATIENCE)
        except TimeoutError:
            self._leave(who, turn)
            raise Overloaded(
                "Too much is asked at once.",
                expected=f"an answer within {PATIENCE:g} seconds",
                retry_after=1,
            ) from None
        except asyncio.CancelledError:
            self._leave(who, turn)
            raise

    def _leave(self, who: Hashable, turn: asyncio.Future[None]) -> None:
        """Wait no longer; a turn that came in this moment is passed on."""
        if turn.done():
            self._end(who)
        else:
            self._waiting[who].remove(turn)
            if not self._waiting[who]:
                del self._waiting[who]

    def _may(self, who: Hashable) -> bool:
        return self._free > 0 and self._at_work[who] < self._of_one

    def _begin(self, who: Hashable) -> None:
        self._free -= 1
        self._at_work[who] += 1

    def _end(self, who: Hashable) -> None:
        self._free += 1
        self._at_work[who] -= 1
        if not self._at_work[who]:
            del self._at_work[who]
        self._call()

    def _call(self) -> None:
        """Those who wait and may begin, in turn: who had one goes to the end of the line."""
        while self._free > 0:
            who = next((who for who in self._waiting if self._may(who)), None)
            if who is None:
                return
            line = self._waiting.pop(who)
            line.popleft().set_result(None)
            self._begin(who)
            if line:
                self._waiting[who] = line
