"""Shared buses on a backend within this process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from antiphon.buses.shared import BackendDown, BusBackend, BusTiming, SharedBus

SOON = 30.0  # seconds; far above what any wake-up takes


async def up(carrier: BusBackend, pace: BusTiming = BusTiming()) -> SharedBus:  # noqa: B008 - frozen
    """Return a connected bus."""
    bus = SharedBus(carrier, timing=pace)
    await comes_up(bus)
    return bus


async def comes_up(bus: SharedBus) -> None:
    """Wait until the bus is connected; all subscribers are woken then."""
    async with asyncio.timeout(SOON):
        with bus.subscribe("nothing") as bell:
            while not bus.connected:
                await bell.wait(SOON)


async def goes_down(bus: SharedBus) -> None:
    """Wait until the bus is disconnected; all subscribers are woken then."""
    async with asyncio.timeout(SOON):
        with bus.subscribe("nothing") as bell:
            while bus.connected:
                await bell.wait(SOON)


class Switchboard:
    """A backend in this process. `said` is every message that was sent, delivered or not.

    While `deaf` it accepts messages and delivers none, while `away` connecting fails, and while
    `silent` connecting does not return; `waiting` counts the connections that wait.
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
        """Deliver a message to all connections, its sender's among them."""
        for hear in list(self._lines):
            hear(message)

    def cut(self) -> None:
        """Break every connection, and let none be opened."""
        self.away = True
        for hung_up in self._lines.values():
            hung_up()


class BadSwitchboard(Switchboard):
    """Loses, doubles, delays and reorders messages; sometimes all connections break."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)

    def bring(self, message: str) -> None:
        if self._dice.random() < 0.02:
            for hung_up in self._lines.values():
                hung_up()
        for _ in range(self._dice.choice([0, 1, 1, 2])):
            delay = self._dice.random() * 0.01
            asyncio.get_running_loop().call_later(delay, super().bring, message)
