"""A few servers on one database, clients that use them, and a loop that kills servers."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.support.harness.checks import Verdict, judge
from tests.support.harness.clients import Person
from tests.support.harness.databases import Database, SqliteFile
from tests.support.harness.fleet import Fleet, Place
from tests.support.harness.own_runs import FROM_THE_QUEUE
from tests.support.harness.record import Record
from tests.support.harness.servers import Forge

BETWEEN_KILLS = (0.05, 0.4)
LOOK_SECONDS = 0.1

# Leases so short that the runs of a killed worker continue within the test.
SHORT = {
    "ANTIPHON_LEASE_DURATION": "1",
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
    "ANTIPHON_EXPIRY_INTERVAL": "0.3",
    "ANTIPHON_DEMO_DELAY": "0.0025",
}


@dataclass(frozen=True)
class Plan:
    """Plan of a run. `settings` are the servers' environment, `entry` their program.

    Each server that starts is armed with one of the `failpoints`, at a random pass.
    """

    seed: int
    kills: int
    servers: int = 2
    people: int = 6
    settings: Mapping[str, str] = field(default_factory=lambda: SHORT)
    entry: str = "antiphon.cli.main:main"
    signal: signal.Signals = signal.SIGKILL
    failpoints: Sequence[str] = ()
    settle_seconds: float = 25.0


@dataclass(frozen=True)
class Result:
    """Result of a plan."""

    verdict: Verdict
    record: Record
    kills: int
    seconds: float

    def __str__(self) -> str:
        ops = len({entry.op for entry in self.record.entries if entry.kind == "ok"})
        tries = sum(entry.kind == "invoke" for entry in self.record.entries)
        return (
            f"{self.kills} kills in {self.seconds:.0f} s: {ops} operations acknowledged, "
            f"{tries} tries, {len(self.record.received)} events heard\n{self.verdict}"
        )


async def chaos(plan: Plan, folder: Path) -> Result:
    """Execute the plan; the record of it stays in the folder."""
    database = SqliteFile(folder / "antiphon.db")
    random = Random(plan.seed)
    began = time.monotonic()
    settings = {**plan.settings, "ANTIPHON_DATABASE": database.address}
    async with AsyncExitStack() as stack:
        record = stack.enter_context(Record(folder / f"record-{plan.seed}.jsonl"))
        forge = await stack.enter_async_context(Forge(plan.entry))
        places = [
            Place(forge, settings | (FROM_THE_QUEUE if number % 2 else {}))
            for number in range(plan.servers)
        ]
        fleet = Fleet(places, random, lambda: _choose_failpoint(plan, random))
        await fleet.start()
        await database.record_transitions()
        stopped = asyncio.Event()
        half_done: list[str] = []
        observer = asyncio.create_task(observe(database, half_done))
        people = [
            asyncio.create_task(_person(number, random, fleet, record).run_until(stopped))
            for number in range(plan.people)
        ]
        while fleet.deaths < plan.kills:
            await asyncio.sleep(random.uniform(*BETWEEN_KILLS))
            fleet.kill(plan.signal)
        stopped.set()
        await fleet.calm()
        stuck = await settle(database, people, plan.settle_seconds)
        observer.cancel()
        person_errors = await asyncio.gather(*people, return_exceptions=True)
        await fleet.stop()
    verdict = judge(record, await database.load())
    broken = [
        *verdict.broken,
        *half_done,
        *stuck,
        *fleet.broken,
        *map(repr, filter(None, person_errors)),
    ]
    verdict = replace(verdict, broken=broken)
    return Result(verdict, record, fleet.deaths, time.monotonic() - began)


def _choose_failpoint(plan: Plan, random: Random) -> str:
    if not plan.failpoints:
        return ""
    return f"{random.choice(plan.failpoints)}:kill@{random.randint(1, 8)}"


def _person(number: int, random: Random, fleet: Fleet, record: Record) -> Person:
    return Person(f"p{number}", Random(random.random()), lambda: fleet.urls, record)


async def observe(database: Database, half_done: list[str]) -> None:
    """Look for half-done rows in the database while it is written: there must never be any."""
    while True:
        half_done += await database.find_half_done()
        await asyncio.sleep(LOOK_SECONDS)


async def settle(database: Database, people: list[asyncio.Task[None]], seconds: float) -> list[str]:
    """Wait until all people and runs are done, with no more kills; return what is stuck."""
    _, waiting = await asyncio.wait(people, timeout=seconds)
    for person in waiting:
        person.cancel()
    deadline = time.monotonic() + seconds
    while (unfinished := await database.list_unfinished_runs()) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    stuck = [f"run {run_id} is stuck" for run_id in unfinished]
    return stuck + [f"{person.get_name()} still waits" for person in waiting]
