"""Servers behind a balancer, with PostgreSQL and Redis: troubles one by one, and clients meanwhile.

The cluster is never restarted: each trouble finds the state that the previous one left. After each
the servers must answer again by themselves, and all acknowledged effects so far are checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.support.harness import raw_http
from tests.support.harness.chaos import observe, settle
from tests.support.harness.checks import Verdict, judge
from tests.support.harness.clients import Person
from tests.support.harness.databases import Database
from tests.support.harness.final_state import FinalState
from tests.support.harness.fleet import Fleet, Place
from tests.support.harness.own_runs import FROM_THE_QUEUE
from tests.support.harness.postgres_database import PostgresDatabase
from tests.support.harness.record import Record
from tests.support.harness.servers import Forge
from tests.support.services.balancer import Balancer, run_balancer
from tests.support.services.fault_proxy import FaultProxy
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis

RECOVERY_SECONDS = 25.0
CALM_SECONDS = (0.05, 0.3)
LEASE_SECONDS = 1.2
SETTINGS = {
    "ANTIPHON_LEASE_DURATION": str(LEASE_SECONDS),
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.4",
    "ANTIPHON_EXPIRY_INTERVAL": "0.4",
    "ANTIPHON_SHUTDOWN_TIMEOUT": "1",
    "ANTIPHON_DEMO_DELAY": "0.003333",
    "ANTIPHON_DATABASE_CONNECTIONS": "6",
}

Trouble = Callable[["Cluster"], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """Plan of troubles, in this order. `entry` is the servers' program.

    `surroundings` are the start variables of each server, and thus the number of servers.
    """

    seed: int
    troubles: Sequence[Trouble]
    entry: str = "antiphon.cli.main:main"
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)
    surroundings: Sequence[Mapping[str, str]] = ({}, {}, {})
    people: int = 5
    judge: Callable[[Record, FinalState], Verdict] = judge
    settle_seconds: float = 30.0


@dataclass(frozen=True)
class Result:
    """Result of a plan. `recoveries` are the seconds until a response after each trouble."""

    verdict: Verdict
    record: Record
    recoveries: Sequence[tuple[str, float]]
    seconds: float

    def __str__(self) -> str:
        ops = len({entry.op for entry in self.record.entries if entry.kind == "ok"})
        tries = sum(entry.kind == "invoke" for entry in self.record.entries)
        took = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.recoveries)
        return (
            f"{len(self.recoveries)} rounds in {self.seconds:.0f} s: {ops} operations "
            f"acknowledged, {tries} tries, {len(self.record.received)} events heard\n"
            f"answered again after (s): {took}\n{self.verdict}"
        )


@dataclass
class Cluster:
    """Parts that a trouble may break. `links` are the servers' connections to the database."""

    fleet: Fleet
    balancer: Balancer
    database: Database
    postgres: Postgres
    redis: Redis
    links: Sequence[FaultProxy]
    random: Random

    def link(self) -> FaultProxy:
        """Return the connection of a random server to the database."""
        return self.random.choice(self.links)


async def rounds(plan: Plan, folder: Path, notes: Path) -> Result:
    """Execute the plan in the folder until a check fails; the record is below `notes`."""
    began = time.monotonic()
    recoveries: list[tuple[str, float]] = []
    async with AsyncExitStack() as stack:
        record = stack.enter_context(Record(notes / f"record-{plan.seed}.jsonl"))
        cluster = await stack.enter_async_context(_open_cluster(plan, folder))
        crowd = _Crowd(plan, cluster, record)
        for trouble in plan.troubles:
            await asyncio.sleep(cluster.random.uniform(*CALM_SECONDS))
            await trouble(cluster)
            recoveries.append((trouble.__name__, await _time_until_answered(cluster.fleet.urls)))
            verdict = await crowd.judge()
            if any(verdict.numbers.values()) or recoveries[-1][1] > RECOVERY_SECONDS:
                await crowd.leave()
                break
        else:
            stuck = await crowd.finish()
            verdict = await crowd.judge()
            verdict = replace(verdict, broken=[*verdict.broken, *stuck])
        await cluster.fleet.stop()
    slow_recoveries = [
        f"nobody answers after {name}" for name, seconds in recoveries if seconds > RECOVERY_SECONDS
    ]
    verdict = replace(verdict, broken=[*verdict.broken, *slow_recoveries, *cluster.fleet.broken])
    return Result(verdict, record, recoveries, time.monotonic() - began)


class _Crowd:
    """The clients of a plan, and the observer of the database meanwhile."""

    def __init__(self, plan: Plan, cluster: Cluster, record: Record) -> None:
        self._plan = plan
        self._cluster = cluster
        self._record = record
        self._stopped = asyncio.Event()
        self._half_done: list[str] = []
        self._people = [
            Person(f"p{number}", Random(cluster.random.random()), self._urls, record)
            for number in range(plan.people)
        ]
        self._person_tasks = [
            asyncio.create_task(person.run_until(self._stopped)) for person in self._people
        ]
        self._observer = asyncio.create_task(observe(cluster.database, self._half_done))

    async def judge(self) -> Verdict:
        """Compare the streams until now with the stored state; return the verdict."""
        record = self._record.copy()
        verdict = self._plan.judge(record, await self._cluster.database.load())
        errors = [repr(task.exception()) for task in self._person_tasks if _has_failed(task)]
        timeouts = [timeout for person in self._people for timeout in person.timeouts]
        return replace(verdict, broken=[*verdict.broken, *self._half_done, *errors, *timeouts])

    async def finish(self) -> list[str]:
        """Let all people end what they began; return what is stuck."""
        self._stopped.set()
        await self._cluster.fleet.calm()
        database, seconds = self._cluster.database, self._plan.settle_seconds
        stuck = await settle(database, self._person_tasks, seconds)
        await self.leave()
        return stuck

    async def leave(self) -> None:
        """Stop the people and the observer."""
        tasks = [*self._person_tasks, self._observer]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _urls(self) -> list[str]:
        return [self._cluster.balancer.url]


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


@asynccontextmanager
async def _open_cluster(plan: Plan, folder: Path) -> AsyncGenerator[Cluster]:
    async with AsyncExitStack() as stack:
        postgres, redis = Postgres(folder / "pg"), Redis(folder / "redis")
        for service in (postgres, redis):
            await asyncio.to_thread(service.start)
            stack.callback(service.stop)
        address = await postgres.create()
        random = Random(plan.seed)
        links = [FaultProxy(postgres.port).start() for _ in plan.surroundings]
        for link in links:
            stack.callback(link.stop)
        forges = {
            tuple(each.items()): await stack.enter_async_context(Forge(plan.entry, each))
            for each in plan.surroundings
        }
        name = address.rpartition("/")[2]
        fleet = Fleet(
            [
                Place(
                    forges[tuple(each.items())],
                    {
                        **plan.settings,
                        "ANTIPHON_DATABASE": postgres.address(name, link.port),
                        "ANTIPHON_REDIS": redis.address,
                        **(FROM_THE_QUEUE if number % 2 else {}),
                    },
                )
                for number, (each, link) in enumerate(zip(plan.surroundings, links, strict=True))
            ],
            random,
        )
        stack.push_async_callback(fleet.stop)
        await fleet.start()
        database = PostgresDatabase(address)
        await database.record_transitions()
        balancer = await stack.enter_async_context(run_balancer())
        balancer.backends = fleet.urls  # the list that the fleet updates
        yield Cluster(fleet, balancer, database, postgres, redis, links, random)


async def _time_until_answered(urls: Sequence[str]) -> float:
    """Return the seconds until each server has completed a new run."""
    began = time.monotonic()
    await asyncio.gather(*(_wait_for_answer(urls, place, began) for place in range(len(urls))))
    return time.monotonic() - began


async def _wait_for_answer(urls: Sequence[str], number: int, began: float) -> None:
    body = {"message": {"content": "Are you there?"}, "max_attempts": 10}
    while time.monotonic() - began <= RECOVERY_SECONDS:
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                turn = await raw_http.read_turn(urls[number], "/v1/process", body)
        except (raw_http.ConnectionCut, raw_http.UnexpectedResponse, TimeoutError):
            await asyncio.sleep(0.05)
        else:
            if turn and turn[-1].type == "turn.ended":
                return
