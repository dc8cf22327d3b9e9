"""Appends of many runs in one statement, with one wait for the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from asyncpg.connection import Connection

from antiphon.ports import OnCommit
from antiphon.stores.append_batcher import AppendBatcher, OnWritten, PendingAppend
from antiphon.stores.postgres.connections import BACKGROUND_SECONDS, ConnectionPool, fetch_value
from antiphon.stores.postgres.group_commit import GroupCommit
from antiphon.stores.postgres.known_records import KnownRecords
from antiphon.telemetry.failpoints import hit
from antiphon.types.errors import AntiphonError


class _Batch(NamedTuple):
    """Appends that are written together, and the callback for their result."""

    appends: Sequence[PendingAppend]
    settle: OnWritten


class PostgresAppender:
    """Writes batches of appends: those of one run in order, others together."""

    def __init__(self, connections: ConnectionPool, known: KnownRecords) -> None:
        self._connections = connections
        self._known = known
        self._batcher = AppendBatcher(self._start_write)
        self._commits = GroupCommit(self._write)

    def add(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """See `RunStore.append`."""
        self._batcher.add(run_id, epoch, first, lines, on_commit, urgent=urgent)

    async def flush_run(self, run_id: str) -> None:
        """Wait until all appends to the run are written or have failed."""
        self._batcher.flush_run(run_id)
        await self._commits.wait(run_id)

    async def flush(self) -> None:
        """Write everything that is gathered, and wait for it."""
        self._batcher.flush()
        await self._commits.wait()

    def _start_write(self, batch: Sequence[PendingAppend], settle: OnWritten) -> None:
        self._commits.add(_Batch(batch, settle), {each.run_id for each in batch})

    async def _write(self, batches: Sequence[_Batch]) -> None:
        appends = [each for batch in batches for each in batch.appends]
        try:
            hit("append.before_commit")
            refused = await self._connections.run(
                _AppendStatement(appends).write, BACKGROUND_SECONDS, lambda: True
            )
            hit("append.after_commit")
        except AntiphonError as fault:
            for batch in batches:
                batch.settle(None, fault)
            return
        for place, each in enumerate(appends):
            if place not in refused:
                self._known.extend_log(each.run_id, each.epoch, each.last)
        first = 0
        for batch in batches:
            after = first + len(batch.appends)
            batch.settle([place - first for place in refused if first <= place < after], None)
            first = after


class _AppendStatement:
    """The statement of a batch; after a broken connection it checks which appends were written."""

    def __init__(self, appended: Sequence[PendingAppend]) -> None:
        self._count = len(appended)
        self._values: dict[str, Any] = {
            "run_ids": [each.run_id for each in appended],
            "epochs": [each.epoch for each in appended],
            "firsts": [each.first for each in appended],
            "lasts": [each.last for each in appended],
            "lines": [b"\n".join(each.lines) for each in appended],
        }
        self._unclear = False

    async def write(self, connection: Connection[Any]) -> Collection[int]:
        """Write appends whose epoch is current; return the places of the others."""
        again, self._unclear = self._unclear, True
        written = await self._execute_until_unlocked(connection)
        if len(written) < self._count and again:
            written |= set(await fetch_value(connection, "find_append", **self._values))
        return [place for place in range(self._count) if place + 1 not in written]

    async def _execute_until_unlocked(self, connection: Connection[Any]) -> set[int]:
        """Retry while rows are locked; the caller bounds the time."""
        while True:
            with suppress(*_LOCK_FAULTS):
                return set(await fetch_value(connection, "append", **self._values))


_LOCK_FAULTS = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
"""Errors after which nothing was written. The server raises them after a wait of its own."""
