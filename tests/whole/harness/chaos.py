"""A few servers on one database, people who use them, and somebody who kills them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
    """What is to happen. `settings` are the servers' environment, `entry` what they run."""

    seed: int
    kills: int
    servers: int = 2
    people: int = 6
    settings: Mapping[str, str] = field(default_factory=lambda: SHORT)
    entry: str = "antiphon.cli:main"
    settle_seconds: float = 25.0
    until_red: bool = False


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
    """The servers; each place holds the one that is, or will soon be, up."""

    def __init__(self, forge: Forge, settings: Mapping[str, str], size: int) -> None:
        self.broken: list[str] = []
        self._forge = forge
        self._settings = settings
        self._size = size
        self._places: list[Server] = []
        self._urls: list[str] = []

    @property
    def urls(self) -> list[str]:
        """The addresses, of which some may be dead."""
        return self._urls

    async def start(self) -> None:
        for place in range(self._size):
            self._places.append(await self._forge.start(self._settings))
            self._urls.append(await self._places[place].listening())

    async def kill(self, place: int, down_seconds: float) -> None:
        """Kill one at whatever it does, also before it listens, and start another."""
        await self._places[place].kill()
        self._listen(self._places[place])
        await asyncio.sleep(down_seconds)
        self._places[place] = server = await self._forge.start(self._settings)
        asyncio.create_task(self._publish(place, server))  # noqa: RUF006 - ends with the server

    async def whole(self) -> None:
        """Wait until all of them listen."""
        for place, server in enumerate(self._places):
            self._urls[place] = await server.listening()

    async def stop(self) -> None:
        for server in self._places:
            await server.gone()
            self._listen(server)

    async def _publish(self, place: int, server: Server) -> None:
        with suppress(Failed):
            self._urls[place] = await server.listening()

    def _listen(self, server: Server) -> None:
        text = "\n".join(server.said)
        if "Traceback" in text or "Internal" in text:
            self.broken.append(text)


async def chaos(plan: Plan, folder: Path) -> Result:
    """Let it happen; the record of it stays in the folder."""
    database = folder / "antiphon.db"
    random = Random(plan.seed)
    record = Record(folder / f"record-{plan.seed}.jsonl")
    began = time.monotonic()
    settings = {**plan.settings, "ANTIPHON_DATABASE": f"sqlite:///{database}"}
    async with Forge(plan.entry) as forge:
        fleet = Fleet(forge, settings, plan.servers)
        await fleet.start()
        final.watch(database)
        over = asyncio.Event()
        seen: list[str] = []
        async with asyncio.TaskGroup() as group:
            observer = group.create_task(_observe(database, seen))
            people = [
                group.create_task(_person(number, random, fleet, record).live(over))
                for number in range(plan.people)
            ]
            for _ in range(plan.kills):
                await asyncio.sleep(random.uniform(*BETWEEN_KILLS))
                await fleet.kill(random.randrange(plan.servers), random.uniform(*DOWN_SECONDS))
            over.set()
            await fleet.whole()
            stuck = await _settled(database, people, plan.settle_seconds)
            observer.cancel()
            for person in people:
                person.cancel()
        await fleet.stop()
    verdict = judge(record, final.load(database))
    record.close()
    broken = [*verdict.broken, *seen, *stuck, *fleet.broken]
    verdict = Verdict(verdict.lost, verdict.dup, verdict.changed, verdict.double_claim, broken)
    return Result(verdict, record, plan.kills, time.monotonic() - began)


def _person(number: int, random: Random, fleet: Fleet, record: Record) -> Person:
    return Person(f"p{number}", Random(random.random()), lambda: fleet.urls, record)


async def _observe(database: Path, seen: list[str]) -> None:
    """Look at the database while it is written, for what must not be there at any moment."""
    while True:
        seen += await asyncio.to_thread(final.halves, database)
        await asyncio.sleep(LOOK_SECONDS)


async def _settled(
    database: Path, people: list[asyncio.Task[None]], seconds: float
) -> list[str]:
    """Nobody dies any more: in this time everybody is done and every run rests or has ended."""
    deadline = time.monotonic() + seconds
    while unrest := final.unrest(database):
        if time.monotonic() > deadline:
            return [f"run {run_id} is stuck" for run_id in unrest]
        await asyncio.sleep(LOOK_SECONDS)
    _, waiting = await asyncio.wait(people, timeout=deadline - time.monotonic() + 5)
    return [f"{len(waiting)} clients still wait"] if waiting else []
