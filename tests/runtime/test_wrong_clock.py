"""A worker whose clock is an hour off, beside a healthy one on one SQLite file.

Guarantees G8 and G30: a run whose worker sends heartbeats is not taken away, another one is.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from antiphon.api.operations import NewMessage
from antiphon.buses.local import LocalBus
from antiphon.engine import transitions
from antiphon.engine.snapshot import ReadSet
from antiphon.engine.threads import new_thread
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.worker import Worker
from antiphon.settings.settings import Settings
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.accounts import Principal
from antiphon.types.runs import Run, Status
from tests.support.engine.world import run_spec

HOUR = 3_600_000
BEAT = 5
LEASE_MS = 15_000


class Machine:
    """Clock and two processes that read it, of which the second one reads it with an offset."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        self.offset = 0
        self._numbers = itertools.count(1)

    def mint(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):04}"

    def elapsed_seconds(self) -> float:
        return self.now / 1000

    async def open(self, path: Path, stack: AsyncExitStack) -> None:
        self.healthy = await SqliteStore.open(path, clock=lambda: self.now)
        stack.push_async_callback(self.healthy.close)
        store = await SqliteStore.open(path, clock=lambda: self.now + self.offset)
        stack.push_async_callback(store.close)
        settings = Settings()
        self.bystander = Worker(
            store,
            LocalBus(),
            cast("Any", None),  # it drives nothing
            settings,
            self.mint,
            "bystander",
            watch=LeaseWatch(self.elapsed_seconds, settings.lease_duration),
        )

    async def begin_run(self) -> Run:
        """Begin a run, and have the healthy worker claim it."""
        spec = run_spec(expires_in=60)
        await self.healthy.change(
            ReadSet(owner="ann"),
            lambda records: transitions.create_run(
                records,
                spec,
                self.mint,
                by=Principal(owner="ann"),
                message=NewMessage("Hello?"),
                new_thread=new_thread(self.mint, records.now),
                ask=True,
            ),
        )
        claim = await self.healthy.claim(transitions.claim("healthy", LEASE_MS))
        assert claim is not None
        return claim.run

    async def pass_beat(self, *runs: Run) -> None:
        """Let a heartbeat's time pass; the healthy worker beats, and the other one sweeps."""
        self.now += BEAT * 1000
        await self.healthy.renew_leases({run.id: 1 for run in runs}, LEASE_MS)
        await self.bystander.sweeper.sweep()

    async def status(self, run: Run) -> Status:
        return (await self.healthy.get(Run, None, run.id)).status


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with AsyncExitStack() as stack:
        machine = Machine()
        await machine.open(tmp_path / "a.db", stack)
        yield machine


@pytest.mark.parametrize("offset", [HOUR, 0, -HOUR])
async def test_a_healthy_worker_keeps_its_run_whatever_another_ones_clock_says(
    machine: Machine, offset: int
) -> None:
    machine.offset = offset
    run = await machine.begin_run()

    for _ in range(10):
        await machine.pass_beat(run)

    assert await machine.status(run) is Status.IN_PROGRESS
    assert (await machine.healthy.run_lease(run.id)).epoch == 1


async def test_a_clock_that_is_set_while_a_run_is_driven_takes_it_from_nobody(
    machine: Machine,
) -> None:
    run = await machine.begin_run()
    await machine.pass_beat(run)

    machine.offset = HOUR
    await machine.pass_beat(run)
    await machine.pass_beat(run)

    assert (await machine.healthy.run_lease(run.id)).epoch == 1


@pytest.mark.parametrize("offset", [HOUR, 0])
async def test_a_run_whose_worker_is_gone_goes_on_within_its_lease_and_a_sweep(
    machine: Machine, offset: int
) -> None:
    machine.offset = offset
    run = await machine.begin_run()
    await machine.pass_beat(run)

    for _ in range(LEASE_MS // 1000 // BEAT + 1):
        await machine.pass_beat()

    assert await machine.status(run) is Status.QUEUED
    assert (await machine.healthy.run_lease(run.id)).epoch == 2


def test_a_lease_beyond_those_that_are_looked_at_together_is_lost_in_the_end() -> None:
    machine = Machine()
    watch = LeaseWatch(machine.elapsed_seconds, LEASE_MS / 1000)
    watch.observe([], ["run_1"])
    assert not watch.is_lost("run_1", 1, machine.now)

    lease_ends = machine.now
    machine.now += LEASE_MS
    watch.observe([], ["run_1"])

    assert watch.is_lost("run_1", 1, lease_ends)
