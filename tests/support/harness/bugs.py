"""Stores with a bug in them, each before a store of any kind; and servers that have one.

Whoever hunts for bugs on a cluster must find these, or finds none. `main` is the command line over
the store with the bug that the variable BUG names.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
from msgspec.structs import replace

from antiphon.cli.main import main as run_command_line
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, Decide, ReadSet, Snapshot
from antiphon.ports import BeforeCommit, OnCommit, Store
from antiphon.runtime import wiring
from antiphon.settings.settings import Settings
from antiphon.types import events
from antiphon.types.errors import AntiphonError
from antiphon.types.runs import Serves, serve_all

WINDOW_SECONDS = 0.03
ACKNOWLEDGED = ("message", "output", "thread")


class Before:
    """A store before a store, which changes nothing."""

    def __init__(self, inner: Store, address: str) -> None:
        self._inner = inner
        self._address = address
        self._later: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _decide(self, about: ReadSet, decide: Decide) -> tuple[Committed, ChangeSet | None]:
        """Return the change without writing it, or the stored response."""
        decided: list[ChangeSet | None] = []

        def look(records: Snapshot) -> None:
            decided[:] = [decide(records)]

        kept = await self._inner.change(about, look)
        return kept, decided[0] if decided else None

    def _do_later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task


class AcknowledgesEarly(Before):
    """Tells that something is kept, and keeps it a little later: write-behind."""

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if about.what not in ACKNOWLEDGED:
            return await self._inner.change(about, decide, before_commit)
        kept, change = await self._decide(about, decide)
        if change is None:
            return kept
        self._do_later(self._keep(about, change))
        return Committed(change.answer, change)

    async def _keep(self, about: ReadSet, change: ChangeSet) -> None:
        await asyncio.sleep(WINDOW_SECONDS)
        with suppress(AntiphonError):
            await self._inner.change(about, lambda _: change)


class KeepsKeysApart(Before):
    """Writes the idempotency key in a second transaction."""

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if about.idempotency_key is None:
            return await self._inner.change(about, decide, before_commit)
        if kept := await self._inner.find_answer(about.idempotency_key):
            return Committed(kept)
        committed = await self._inner.change(replace(about, idempotency_key=None), decide)
        await asyncio.sleep(WINDOW_SECONDS)
        key_alone = ReadSet(owner=about.owner, idempotency_key=about.idempotency_key, what="key")
        await self._inner.change(key_alone, lambda _: ChangeSet(answer=committed.answer))
        return committed


class TellsBeforeItKeeps(Before):
    """Says that events are kept, so that everybody here hears them, and then keeps them."""

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        kept(None)
        append = self._inner.append
        asyncio.get_running_loop().call_later(
            WINDOW_SECONDS, lambda: append(run_id, epoch, first, lines, _ignore, urgent=urgent)
        )

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """Append the events after they were sent."""
        if about.what == "finalize":
            await asyncio.sleep(2 * WINDOW_SECONDS)
        return await self._inner.change(about, decide, before_commit)


class AppendsForAnybody(Before):
    """Numbers events by itself and asks nobody for an epoch: what comes is written at the end."""

    def __init__(self, inner: Store, address: str) -> None:
        super().__init__(inner, address)
        self._one_at_a_time = asyncio.Lock()

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        self._do_later(self._append(run_id, lines, kept))

    async def _append(self, run_id: str, lines: Sequence[bytes], kept: OnCommit) -> None:
        async with self._one_at_a_time:
            done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            try:
                lease = await self._inner.run_lease(run_id)
            except AntiphonError as fault:
                kept(fault)
                return
            first = lease.last_event + 1
            self._inner.append(run_id, lease.epoch, first, lines, done.set_result, urgent=True)
            kept(await done)


class ClaimsCarelessly(Before):
    """Looks whether a run is free, and takes it: two steps. Of PostgreSQL's tables."""

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        connection = await asyncpg.connect(self._address)
        try:
            run_id = await connection.fetchval(NEXT)
            if run_id is None:
                return None
            _, change = await self._decide(ReadSet(owner=None, run_id=run_id), decide)
            if change is None:
                return None
            await asyncio.sleep(WINDOW_SECONDS)
            await connection.execute(*_claim_parameters(change))
        finally:
            await connection.close()
        return Claim("local", change.run_updates[0].run, change.run_updates[0].lease)


NEXT = "SELECT id FROM drives WHERE status = 'queued' AND wanted ORDER BY wanted_at, run LIMIT 1"
TAKE = """
WITH taken AS (
    UPDATE drives SET status = 'in_progress', epoch = $2, worker = $3, due_at = $4, last_event = $5
    WHERE id = $1 RETURNING run
), shown AS (
    UPDATE runs SET doc = $6 FROM taken WHERE seq = run
)
INSERT INTO log (run, first, last, lines) SELECT run, $7, $5, $8 FROM taken ON CONFLICT DO NOTHING
"""


def _claim_parameters(change: ChangeSet) -> tuple[Any, ...]:
    (driven,) = change.run_updates
    run, lease = driven.run, driven.lease
    first = lease.last_event - len(driven.events) + 1
    lines = b"\n".join(map(events.encode, driven.events))
    told = (run.id, lease.epoch, lease.worker, lease.due_at, lease.last_event)
    return (TAKE, *told, msgspec.json.encode(run), first, lines)


class SweepsByItsOwnClock(Before):
    """Takes the time of its own machine for that of the database."""

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        connection = await asyncpg.connect(self._address)
        try:
            rows = await connection.fetch(OVERDUE, _own_time(), limit)
        finally:
            await connection.close()
        return [row[0] for row in rows]

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if about.what != "expire":
            return await self._inner.change(about, decide, before_commit)
        now = _own_time()
        return await self._inner.change(about, lambda records: decide(replace(records, now=now)))


OVERDUE = """
SELECT id FROM drives
WHERE due_at < $1 AND status IN ('queued', 'in_progress', 'action_required') LIMIT $2
"""


def _own_time() -> int:
    return time.time_ns() // 1_000_000


def _ignore(_: Exception | None) -> None:
    """Nobody is told."""


BUGS: Mapping[str, Callable[[Store, str], Before]] = {
    "acknowledges early": AcknowledgesEarly,
    "keeps keys apart": KeepsKeysApart,
    "tells before it keeps": TellsBeforeItKeeps,
    "appends for anybody": AppendsForAnybody,
    "claims carelessly": ClaimsCarelessly,
    "sweeps by its own clock": SweepsByItsOwnClock,
}


def main(arguments: Sequence[str]) -> int:
    """The command line, in a process whose store has the bug."""
    sound = wiring.create_store
    bug = BUGS[os.environ["BUG"]]

    async def with_the_bug(settings: Settings, *more: Any) -> Any:
        return bug(await sound(settings, *more), settings.database)

    wiring.create_store = with_the_bug  # type: ignore[assignment]
    return run_command_line(list(arguments))
