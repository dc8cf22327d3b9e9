"""Slots for bounded work, which callers get in turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from antiphon.types.errors import Overloaded

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that a work item waits for its slot before it is refused."""


class FairQueue:
    """Slots for `at_once` work items, of which one caller has at most `per_caller`.

    A free slot goes to the waiting caller that was served longest ago. The items of one caller
    start in order. An item that has waited for `patience` seconds is refused; with None it waits
    without limit.
    """

    def __init__(self, at_once: int, per_caller: int, patience: float | None = PATIENCE) -> None:
        self._free = at_once
        self._per_caller = per_caller
        self._patience = patience
        self._at_work: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, caller: Hashable) -> AsyncGenerator[None]:
        """Hold a slot during the block. Raises `Overloaded` after `patience` seconds."""
        await self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)

    async def enter(self, caller: Hashable) -> None:
        """Wait for a slot, which `leave` frees. Raises `Overloaded` after `patience` seconds."""
        await self._enter(caller, self._patience)

    def leave(self, caller: Hashable) -> None:
        """Free a slot of this caller, for the next work item."""
        self._free += 1
        self._at_work[caller] -= 1
        if not self._at_work[caller]:
            del self._at_work[caller]
        self._serve_next()

    async def make_pieces(
        self, caller: Hashable, pieces: AsyncGenerator[T, None]
    ) -> AsyncGenerator[T, None]:
        """Yield the pieces; each is made in a slot, which is free while the piece is used.

        Raises `Overloaded` only before the first piece: what was started is finished.
        """
        patience = self._patience
        async with aclosing(pieces):
            while True:
                await self._enter(caller, patience)
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                finally:
                    self.leave(caller)
                patience = None
                yield piece

    async def _enter(self, caller: Hashable, patience: float | None) -> None:
        if self._may_begin(caller) and caller not in self._waiting:
            self._begin(caller)
        else:
            await self._wait(caller, patience)

    async def _wait(self, caller: Hashable, patience: float | None) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(slot)
        try:
            await asyncio.wait_for(asyncio.shield(slot), patience)
        except TimeoutError:
            self._give_up(caller, slot)
            raise Overloaded(
                "Too much is asked at once.",
                expected=f"an answer within {patience or 0:g} seconds",
                retry_after=1,
            ) from None
        except asyncio.CancelledError:
            self._give_up(caller, slot)
            raise

    def _give_up(self, caller: Hashable, slot: asyncio.Future[None]) -> None:
        """Stop waiting; a slot that was granted meanwhile is freed."""
        if slot.done():
            self.leave(caller)
            return
        self._waiting[caller].remove(slot)
        if not self._waiting[caller]:
            del self._waiting[caller]

    def _may_begin(self, caller: Hashable) -> bool:
        return self._free > 0 and self._at_work[caller] < self._per_caller

    def _begin(self, caller: Hashable) -> None:
        self._free -= 1
        self._at_work[caller] += 1

    def _serve_next(self) -> None:
        """Give the free slot to the next caller, which goes to the end of the queue."""
        for caller, waiting in self._waiting.items():
            if self._may_begin(caller):
                del self._waiting[caller]
                waiting.popleft().set_result(None)
                self._begin(caller)
                if waiting:
                    self._waiting[caller] = waiting
                return
