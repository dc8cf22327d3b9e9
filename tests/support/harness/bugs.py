"""Stores with deliberate bugs, each in front of a store of any kind, and servers with such a store.

The checks must find these bugs on a cluster. `main` is the command line with a store that has the
bug which the variable BUG names.
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
    """A store in front of another store, which changes nothing."""

    def __init__(self, inner: Store, address: str) -> None:
        self._inner = inner
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _decide(
        self, read_set: ReadSet, decide: Decide
    ) -> tuple[Committed, ChangeSet | None]:
        """Return the change without writing it, or the stored response."""
        changes: list[ChangeSet | None] = []

        def record_change(records: Snapshot) -> None:
            changes[:] = [decide(records)]

        committed = await self._inner.change(read_set, record_change)
        return committed, changes[0] if changes else None

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class AcknowledgesEarly(Before):
    """Reports that a change is stored, and stores it a little later: write-behind."""

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if read_set.what not in ACKNOWLEDGED:
            return await self._inner.change(read_set, decide, before_commit)
        committed, change = await self._decide(read_set, decide)
        if change is None:
            return committed
        self._start_task(self._change_later(read_set, change))
        return Committed(change.answer, change)

    async def _change_later(self, read_set: ReadSet, change: ChangeSet) -> None:
        await asyncio.sleep(WINDOW_SECONDS)
        with suppress(AntiphonError):
            await self._inner.change(read_set, lambda _: change)


class KeepsKeysApart(Before):
    """Writes the idempotency key in a second transaction."""

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if read_set.idempotency_key is None:
            return await self._inner.change(read_set, decide, before_commit)
        if answer := await self._inner.find_answer(read_set.idempotency_key):
            return Committed(answer)
        committed = await self._inner.change(replace(read_set, idempotency_key=None), decide)
        await asyncio.sleep(WINDOW_SECONDS)
        key_alone = ReadSet(
            owner=read_set.owner, idempotency_key=read_set.idempotency_key, what="key"
        )
        await self._inner.change(key_alone, lambda _: ChangeSet(answer=committed.answer))
        return committed


class TellsBeforeItKeeps(Before):
    """Reports that events are stored, so that readers here get them, and stores them afterwards."""

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        on_commit(None)
        append = self._inner.append
        asyncio.get_running_loop().call_later(
            WINDOW_SECONDS, lambda: append(run_id, epoch, first, lines, _ignore, urgent=urgent)
        )

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """Delay the end of a run until its events are appended."""
        if read_set.what == "finalize":
            await asyncio.sleep(2 * WINDOW_SECONDS)
        return await self._inner.change(read_set, decide, before_commit)


class AppendsForAnybody(Before):
    """Numbers events itself and ignores epochs: it appends whatever it gets."""

    def __init__(self, inner: Store, address: str) -> None:
        super().__init__(inner, address)
        self._one_at_a_time = asyncio.Lock()

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        self._start_task(self._append(run_id, lines, on_commit))

    async def _append(self, run_id: str, lines: Sequence[bytes], on_commit: OnCommit) -> None:
        async with self._one_at_a_time:
            done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            try:
                lease = await self._inner.run_lease(run_id)
            except AntiphonError as fault:
                on_commit(fault)
                return
            first = lease.last_event + 1
            self._inner.append(run_id, lease.epoch, first, lines, done.set_result, urgent=True)
            on_commit(await done)


class ClaimsCarelessly(Before):
    """Looks for a free run in PostgreSQL's tables and claims it in two steps."""

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
WITH claimed AS (
    UPDATE drives SET status = 'in_progress', epoch = $2, worker = $3, due_at = $4, last_event = $5
    WHERE id = $1 RETURNING run
), updated AS (
    UPDATE runs SET doc = $6 FROM claimed WHERE seq = run
)
INSERT INTO log (run, first, last, lines) SELECT run, $7, $5, $8 FROM claimed ON CONFLICT DO NOTHING
"""


def _claim_parameters(change: ChangeSet) -> tuple[Any, ...]:
    (update,) = change.run_updates
    run, lease = update.run, update.lease
    first = lease.last_event - len(update.events) + 1
    lines = b"\n".join(map(events.encode, update.events))
    lease_values = (run.id, lease.epoch, lease.worker, lease.due_at, lease.last_event)
    return (TAKE, *lease_values, msgspec.json.encode(run), first, lines)


class SweepsByItsOwnClock(Before):
    """Uses the time of its own machine instead of the database's."""

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        connection = await asyncpg.connect(self._address)
        try:
            rows = await connection.fetch(OVERDUE, _own_time(), limit)
        finally:
            await connection.close()
        return [row[0] for row in rows]

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if read_set.what != "expire":
            return await self._inner.change(read_set, decide, before_commit)
        now = _own_time()
        return await self._inner.change(read_set, lambda records: decide(replace(records, now=now)))


OVERDUE = """
SELECT id FROM drives
WHERE due_at < $1 AND status IN ('queued', 'in_progress', 'action_required') LIMIT $2
"""


def _own_time() -> int:
    return time.time_ns() // 1_000_000


def _ignore(_: Exception | None) -> None:
    """Do nothing with the outcome."""


BUGS: Mapping[str, Callable[[Store, str], Before]] = {
    "acknowledges early": AcknowledgesEarly,
    "keeps keys apart": KeepsKeysApart,
    "tells before it keeps": TellsBeforeItKeeps,
    "appends for anybody": AppendsForAnybody,
    "claims carelessly": ClaimsCarelessly,
    "sweeps by its own clock": SweepsByItsOwnClock,
}


def main(arguments: Sequence[str]) -> int:
    """Run the command line in a process whose store has the bug."""
    create_sound_store = wiring.create_store
    bug = BUGS[os.environ["BUG"]]

    async def create_buggy_store(settings: Settings, *more: Any) -> Any:
        return bug(await create_sound_store(settings, *more), settings.database)

    wiring.create_store = create_buggy_store  # type: ignore[assignment]
    return run_command_line(list(arguments))
