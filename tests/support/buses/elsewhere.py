"""Buses of several processes, and a carrier between them that is no service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from antiphon.buses.shared import BackendDown, BusBackend, BusTiming, SharedBus

SOON = 30.0  # seconds; far more than any wake-up takes


async def up(carrier: BusBackend, pace: BusTiming = BusTiming()) -> SharedBus:  # noqa: B008 - frozen
    """A bus whose line is there."""
    bus = SharedBus(carrier, timing=pace)
    await comes_up(bus)
    return bus


async def comes_up(bus: SharedBus) -> None:
    """Everybody is woken once the line is there."""
    async with asyncio.timeout(SOON):
        with bus.subscribe("nothing") as bell:
            while not bus.connected:
                await bell.wait(SOON)


async def goes_down(bus: SharedBus) -> None:
    """Everybody is woken once the line is gone."""
    async with asyncio.timeout(SOON):
        with bus.subscribe("nothing") as bell:
            while bus.connected:
                await bell.wait(SOON)


class Switchboard:
    """A carrier in this process. `said` is every message that was sent, heard or not.

    While `deaf` it takes messages and brings none, while `away` no line can be opened, and while
    `silent` one that is opened waits; `waiting` is how many do.
    """

    name = "the switchboard"

    def __init__(self, max_bytes: int = 1_000, pause: float = 0.002) -> None:
        self.max_bytes = max_bytes
        self.pause = pause
        self.said: list[str] = []
        self.deaf = False
        self.away = False
        self.silent = False
        self.waiting = 0
        self._lines: dict[Callable[[str], None], Callable[[], None]] = {}

    @asynccontextmanager
    async def connect(
        self, hear: Callable[[str], None], hung_up: Callable[[], None]
    ) -> AsyncGenerator[Switchboard]:
        if self.away:
            raise BackendDown("nobody answers\nat all")
        if self.silent:
            self.waiting += 1
            await asyncio.Event().wait()
        self._lines[hear] = hung_up
        try:
            yield self
        finally:
            del self._lines[hear]

    async def publish(self, message: str) -> None:
        if self.away:
            raise BackendDown("gone")
        self.said.append(message)
        await asyncio.sleep(0)
        if not self.deaf:
            self.bring(message)

    def bring(self, message: str) -> None:
        """To everybody, whoever sent it."""
        for hear in list(self._lines):
            hear(message)

    def cut(self) -> None:
        """Every line breaks, and none can be opened."""
        self.away = True
        for hung_up in self._lines.values():
            hung_up()


class BadSwitchboard(Switchboard):
    """Loses, doubles, delays and reorders messages; now and then a line breaks."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)

    def bring(self, message: str) -> None:
        if self._dice.random() < 0.02:
            for hung_up in self._lines.values():
                hung_up()
        for _ in range(self._dice.choice([0, 1, 1, 2])):
            late = self._dice.random() * 0.01
            asyncio.get_running_loop().call_later(late, super().bring, message)
