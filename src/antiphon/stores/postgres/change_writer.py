"""First tries of changes: decided on the loop, and written many in one statement.

A change that another has overtaken, or is about to, is left to a try of its own (see `changes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import asyncpg
from asyncpg.connection import Connection

from antiphon.engine.snapshot import ChangeSet, Committed, Decide, ReadSet
from antiphon.stores.postgres import reads
from antiphon.stores.postgres.change_statement import ChangeDraft, ChangeShape, write_changes
from antiphon.stores.postgres.changes import (
    WriteAttempt,
    change,
    has_full_segment,
    join_segments,
    raise_unique_violation,
)
from antiphon.stores.postgres.connections import ConnectionPool
from antiphon.stores.postgres.group_commit import GroupCommit
from antiphon.stores.postgres.known_records import KnownRecords
from antiphon.stores.postgres.reads import ReadResult
from antiphon.telemetry.failpoints import hit

LEAST_SECONDS = 0.5  # for a second try


@dataclass(slots=True, eq=False)
class _PendingChange:
    draft: ChangeDraft
    written: asyncio.Future[bool]


class ChangeWriter:
    """Writes changes of one shape together, and those of other shapes at the same time."""

    def __init__(self, connections: ConnectionPool, known: KnownRecords) -> None:
        self._connections = connections
        self._known = known
        self._tasks: set[asyncio.Task[Committed]] = set()
        self._commits: dict[ChangeShape, GroupCommit[_PendingChange]] = {}
        self._reserved: dict[str, asyncio.Future[None]] = {}
        """Ids of records, each of one change; done when it has ended."""

    async def change(self, read_set: ReadSet, decide: Decide) -> Committed:
        """See `RunStore.change`; the change is made to its end, even if the caller is cancelled."""
        task = asyncio.create_task(self._change(read_set, decide))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        await asyncio.wait([task])
        return task.result()

    async def flush(self) -> None:
        """Wait for the end of all changes."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, task: asyncio.Task[Committed]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved; `change` raises it

    async def _change(self, read_set: ReadSet, decide: Decide) -> Committed:
        ends = monotonic() + self._connections.timeouts.call
        reserved: set[str] = set()
        try:
            if await self._reserve_in_turn(read_set, reserved):
                made = await self._try(read_set, decide, reserved)
                if made is not None:
                    return made
            attempt = WriteAttempt()
            again = partial(
                change, read_set=read_set, decide=decide, known=self._known, attempt=attempt
            )
            return await self._connections.run(
                again, max(ends - monotonic(), LEAST_SECONDS), lambda: attempt.repeatable
            )
        finally:
            for name in reserved:
                self._reserved.pop(name).set_result(None)

    async def _try(self, read_set: ReadSet, decide: Decide, reserved: set[str]) -> Committed | None:
        """Read what is not known, decide and write; return None if nothing was written.

        Then the change must be decided again. Raises what `decide` does with the records of a read.
        """
        read, decided = self._decide_unread(read_set, decide)
        if read is None:
            read = await self._read(read_set)
            if read.answer is not None:
                return Committed(read.answer)
            decided = decide(read.records)
        if decided is None:
            return Committed()
        draft = await ChangeDraft.of(read_set, read, decided)
        if not self._reserve(draft.records - reserved, reserved):
            return None  # it is about to be overtaken
        hit(f"{read_set.what}.before_commit")
        if (commits := self._commits.get(draft.shape)) is None:
            commits = self._commits[draft.shape] = GroupCommit(self._write)
        pending = _PendingChange(draft, asyncio.get_running_loop().create_future())
        commits.add(pending)
        if not await pending.written:
            self._known.forget(read_set.run_id)
            return None
        self._known.record(read, decided, read.owner or decided.owner or read_set.owner)
        hit(f"{read_set.what}.after_commit")
        if has_full_segment(read, decided):
            await self._connections.run(partial(join_segments, read=read, decided=decided))
        return Committed(decided.answer, decided)

    async def _reserve_in_turn(self, read_set: ReadSet, reserved: set[str]) -> bool:
        """Reserve the records that are named, after changes of them that came before.

        Return False if these take too long; then the change competes with them.
        """
        until = monotonic() + self._connections.timeouts.call - LEAST_SECONDS
        names = (read_set.thread_id, read_set.run_id, read_set.key_id, read_set.schedule_id)
        named = frozenset(name for name in names if name is not None)
        while not self._reserve(named, reserved):
            before = [self._reserved[name] for name in named & self._reserved.keys()]
            if monotonic() >= until:
                return False
            await asyncio.wait(before, timeout=until - monotonic())
        return True

    def _reserve(self, names: frozenset[str], reserved: set[str]) -> bool:
        """Reserve these records as well; return False if another change has one of them."""
        if not names.isdisjoint(self._reserved):
            return False
        loop = asyncio.get_running_loop()
        self._reserved |= {name: loop.create_future() for name in names}
        reserved |= names
        return True

    def _decide_unread(
        self, read_set: ReadSet, decide: Decide
    ) -> tuple[ReadResult | None, ChangeSet | None]:
        """Return known records and a change that was decided from them; None if a read must."""
        if (read := self._known.find(read_set)) is None:
            return None, None
        try:
            decided = decide(read.records)
        except Exception:  # noqa: BLE001 - whatever it is, the records may be out of date
            return None, None
        return (None, None) if decided is None else (read, decided)

    async def _read(self, read_set: ReadSet) -> ReadResult:
        read = partial(reads.read_change, read_set=read_set, now=self._known.given_time)
        found = await self._connections.run(read, repeatable=lambda: True)
        self._known.observe_time(found.records.now)
        return found

    async def _write(self, changes: Sequence[_PendingChange]) -> None:
        attempt = WriteAttempt()
        write = partial(_write_if_free, drafts=[each.draft for each in changes], attempt=attempt)
        try:
            written = await self._connections.run(write, repeatable=lambda: attempt.repeatable)
        except Exception as fault:  # noqa: BLE001 - the callers of the changes raise it
            for each in changes:
                each.written.set_exception(fault)
        else:
            for place, each in enumerate(changes):
                each.written.set_result(place in written)
        finally:
            for each in changes:
                each.written.cancel()  # if this task was


async def _write_if_free(
    connection: Connection[Any], drafts: Sequence[ChangeDraft], attempt: WriteAttempt
) -> frozenset[int]:
    """Return the places of the changes that were written; none if one of them was refused.

    Raises the error of a change that was alone.
    """
    attempt.started = True
    try:
        return await write_changes(connection, drafts, wait=False)
    except asyncpg.UniqueViolationError as fault:
        if len(drafts) == 1:
            await raise_unique_violation(connection, fault, drafts[0].decided)
        return frozenset()
    except _REFUSALS:
        return frozenset()


_REFUSALS = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
"""Errors after which nothing was written, and each change is tried alone."""
