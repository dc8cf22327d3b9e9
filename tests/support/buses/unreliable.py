"""A bus with all faults that a bus may have: it loses, doubles, delays and reorders wake-ups."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractContextManager

from antiphon.buses.local import LocalBus, LocalSubscription


class UnreliableBus:
    """`lost` and `doubled` are probabilities; a wake-up is up to `delay` seconds late."""

    def __init__(
        self, seed: int, *, lost: float = 0.3, doubled: float = 0.3, delay: float = 0.01
    ) -> None:
        self._bus = LocalBus()
        self._dice = random.Random(seed)
        self._lost = lost
        self._doubled = doubled
        self._delay = delay

    @property
    def subscribers(self) -> int:
        return self._bus.subscribers

    def subscribe(self, topic: str) -> AbstractContextManager[LocalSubscription]:
        return self._bus.subscribe(topic)

    def notify(self, topic: str) -> None:
        if self._dice.random() < self._lost:
            return
        self._notify_later(topic)
        if self._dice.random() < self._doubled:
            self._notify_later(topic)

    async def close(self) -> None:
        await self._bus.close()

    def _notify_later(self, topic: str) -> None:
        delay = self._dice.random() * self._delay
        asyncio.get_running_loop().call_later(delay, self._bus.notify, topic)
