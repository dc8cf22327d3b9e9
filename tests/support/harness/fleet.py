"""The servers of a test, each of which is replaced soon after it has died."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from tests.support.harness.servers import Failed, Forge, Server

DOWN_SECONDS = (0.0, 0.1)


@dataclass(frozen=True)
class Place:
    """The forge and the environment that a server needs to start."""

    forge: Forge
    settings: Mapping[str, str]


class Fleet:
    """Runs one server in each place; `arms` returns the failpoints of the next one to start."""

    def __init__(
        self, places: Sequence[Place], random: Random, arms: Callable[[], str] = lambda: ""
    ) -> None:
        self.deaths = 0
        self.broken: list[str] = []
        self.urls = [""] * len(places)
        """The addresses of the servers, some of which may be dead."""
        self._places = places
        self._random = random
        self._arms = arms
        self._servers: list[Server | None] = [None] * len(places)
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all servers, and replace each that ends from now on. Raises `Failed`."""
        await asyncio.gather(*(self._open(number) for number in range(len(self._places))))
        for server in filter(None, self._servers):
            if not server.armed:
                await server.listening()
        self._keepers = [
            asyncio.create_task(self._keep(number)) for number in range(len(self._places))
        ]

    def server(self, number: int) -> Server | None:
        """Return the server that is in that place now."""
        return self._servers[number]

    def kill(self, number: signal.Signals) -> None:
        """Kill a random server at any point, even before it listens."""
        server = self._random.choice(self._servers)
        if server:
            server.send(number)

    async def calm(self) -> None:
        """Stop arming servers, and wait until each place has an unarmed one that listens."""
        self._arms = lambda: ""
        for keeper, server in zip(self._keepers, self._servers, strict=True):
            if server and server.armed:
                server.send(signal.SIGKILL)
            assert not keeper.done()
        while any(server is None or server.armed or not server.url for server in self._servers):
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Stop all servers in order, and replace none any more."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        running, self._servers = [*filter(None, self._servers)], []
        await asyncio.gather(*(server.leave() for server in running))
        self.broken += [complaint for server in running for complaint in server.complaints]

    async def _keep(self, number: int) -> None:
        while True:
            server = self._servers[number]
            assert server
            await server.wait()
            self.deaths += 1
            self._servers[number] = None
            self.broken += server.complaints
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            await self._open(number)

    async def _open(self, number: int) -> None:
        place = self._places[number]
        self._servers[number] = server = await place.forge.start(
            {**place.settings, "FAILPOINTS": self._arms()}
        )
        with suppress(Failed):  # it was killed before it listened
            self.urls[number] = await server.listening()
