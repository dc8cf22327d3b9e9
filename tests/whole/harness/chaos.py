"""A few servers on one database, people who use them, and somebody who kills them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from harness import final
from harness.checks import Verdict, judge
from harness.clients import Person
from harness.record import Record
from harness.servers import Failed, Forge, Server

BETWEEN_KILLS = (0.05, 0.4)
DOWN_SECONDS = (0.0, 0.1)
LOOK_SECONDS = 0.1

# Leases short enough that a killed worker's runs go on while the test still does.
SHORT = {
    "ANTIPHON_LEASE": "1",
    "ANTIPHON_BEAT": "0.3",
    "ANTIPHON_SWEEP": "0.3",
    "ANTIPHON_DEMO_PACE": "400",
}


@dataclass(frozen=True)
class Plan:
    """What is to happen. `settings` are the servers' environment, `entry` what they run.

    Each server that starts is armed with one of the `failpoints`, at a random pass.
    """

    seed: int
    kills: int
    servers: int = 2
    people: int = 6
    settings: Mapping[str, str] = field(default_factory=lambda: SHORT)
    entry: str = "antiphon.cli:main"
    signal: signal.Signals = signal.SIGKILL
    failpoints: Sequence[str] = ()
    settle_seconds: float = 25.0


@dataclass(frozen=True)
class Result:
    """What came of it."""

    verdict: Verdict
    record: Record
    kills: int
    seconds: float

    def __str__(self) -> str:
        ops = len({entry.op for entry in self.record.entries if entry.kind == "ok"})
        tries = sum(entry.kind == "invoke" for entry in self.record.entries)
        return (
            f"{self.kills} kills in {self.seconds:.0f} s: {ops} operations acknowledged, "
            f"{tries} tries, {len(self.record.heard)} events heard\n{self.verdict}"
        )


class Fleet:
    """The servers; each place is taken again soon after its server has died.

    `arms` gives the failpoints of the next server to start.
    """

    def __init__(
        self,
        forge: Forge,
        settings: Mapping[str, str],
        size: int,
        random: Random,
        arms: Callable[[], str] = lambda: "",
    ) -> None:
        self.deaths = 0
        self.broken: list[str] = []
        self.urls = [""] * size
        """The addresses, of which some may be dead."""
        self._forge = forge
        self._settings = settings
        self._random = random
        self._arms = arms
        self._places: list[Server | None] = [None] * size
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """All of them, and from now on others in their places."""
        for place in range(len(self._places)):
            await self._open(place)
            self._keepers.append(asyncio.create_task(self._keep(place)))

    def kill(self, number: signal.Signals) -> None:
        """Kill one at whatever it does, also before it listens."""
        server = self._random.choice(self._places)
        if server:
            server.send(number)

    async def calm(self) -> None:
        """Nobody arms the servers that start from now on; wait until each place has such a one."""
        self._arms = lambda: ""
        for keeper, server in zip(self._keepers, self._places, strict=True):
            if server and server.armed:
                server.send(signal.SIGKILL)
            assert not keeper.done()
        while any(server is None or server.armed or not server.url for server in self._places):
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End all of them in order."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for server in filter(None, self._places):
            await server.gone()

    async def _keep(self, place: int) -> None:
        while True:
            server = self._places[place]
            assert server
            await server.ended()
            self.deaths += 1
            self._places[place] = None
            self.broken += server.complaints
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            await self._open(place)

    async def _open(self, place: int) -> None:
        self._places[place] = server = await self._forge.start(
            {**self._settings, "FAILPOINTS": self._arms()}
        )
        with suppress(Failed):  # it was killed before it listened
            self.urls[place] = await server.listening()


async def chaos(plan: Plan, folder: Path) -> Result:
    """Let it happen; the record of it stays in the folder."""
    database = folder / "antiphon.db"
    random = Random(plan.seed)
    record = Record(folder / f"record-{plan.seed}.jsonl")
    began = time.monotonic()
    settings = {**plan.settings, "ANTIPHON_DATABASE": f"sqlite:///{database}"}
    async with Forge(plan.entry) as forge:
        fleet = Fleet(forge, settings, plan.servers, random, lambda: _armed(plan, random))
        await fleet.start()
        final.watch(database)
        over = asyncio.Event()
        seen: list[str] = []
        observer = asyncio.create_task(_observe(database, seen))
        people = [
            asyncio.create_task(_person(number, random, fleet, record).live(over))
            for number in range(plan.people)
        ]
        while fleet.deaths < plan.kills:
            await asyncio.sleep(random.uniform(*BETWEEN_KILLS))
            fleet.kill(plan.signal)
        over.set()
        await fleet.calm()
        stuck = await _settled(database, people, plan.settle_seconds)
        observer.cancel()
        fallen = await asyncio.gather(*people, return_exceptions=True)
        await fleet.stop()
    record.close()
    verdict = judge(record, final.load(database))
    broken = [*verdict.broken, *seen, *stuck, *fleet.broken, *map(repr, filter(None, fallen))]
    verdict = replace(verdict, broken=broken)
    return Result(verdict, record, fleet.deaths, time.monotonic() - began)


def _armed(plan: Plan, random: Random) -> str:
    if not plan.failpoints:
        return ""
    return f"{random.choice(plan.failpoints)}:kill@{random.randint(1, 8)}"


def _person(number: int, random: Random, fleet: Fleet, record: Record) -> Person:
    return Person(f"p{number}", Random(random.random()), lambda: fleet.urls, record)


async def _observe(database: Path, seen: list[str]) -> None:
    """Look at the database while it is written, for what must not be there at any moment."""
    while True:
        seen += await asyncio.to_thread(final.halves, database)
        await asyncio.sleep(LOOK_SECONDS)


async def _settled(database: Path, people: list[asyncio.Task[None]], seconds: float) -> list[str]:
    """Nobody dies any more: in this time everybody is done and every run rests or has ended."""
    _, waiting = await asyncio.wait(people, timeout=seconds)
    for person in waiting:
        person.cancel()
    deadline = time.monotonic() + seconds
    while (unrest := final.unrest(database)) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    stuck = [f"run {run_id} is stuck" for run_id in unrest]
    return stuck + [f"{person.get_name()} still waits" for person in waiting]
