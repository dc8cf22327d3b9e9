"""Changes and claims of one connection: read, decide, write, and retry after a lost race."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import asyncpg
from asyncpg.connection import Connection

from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    Decide,
    ReadSet,
    Snapshot,
)
from antiphon.stores import invariants
from antiphon.stores.postgres import reads
from antiphon.stores.postgres.change_statement import ChangeDraft, write_changes
from antiphon.stores.postgres.connections import execute, fetch_rows, fetch_value
from antiphon.stores.postgres.known_records import KnownRecords
from antiphon.stores.postgres.migrations import DAY_MS, make_parts
from antiphon.stores.postgres.reads import ReadResult
from antiphon.telemetry.failpoints import hit
from antiphon.types.errors import Internal
from antiphon.types.runs import Serves, Status, Thread

SEGMENT = 64  # messages whose chat is joined for good


def has_full_segment(read: ReadResult, decided: ChangeSet) -> bool:
    """Return True if the change completed a segment of messages."""
    before, after = read.records.thread, decided.thread
    if after is None or not decided.messages or after.messages < 2 * SEGMENT:
        return False
    had = before.messages if before and before.id == after.id else 0
    return had // SEGMENT != after.messages // SEGMENT or decided.keep_messages is not None


async def join_segments(connection: Connection[Any], read: ReadResult, decided: ChangeSet) -> None:
    """Join the JSON of full segments of messages; after an error the next change does it."""
    before, after = read.records.thread, decided.thread
    if after is None or not has_full_segment(read, decided):
        return
    changes = read.changes + 1 if before and before.id == after.id else 0
    values = {"thread_id": after.id, "length": SEGMENT, "messages": after.messages}
    with suppress(asyncpg.PostgresError):
        await execute(connection, "join_segment", changes=changes, **values)


def translate_conflict(constraint: str | None, decided: ChangeSet) -> Exception:
    """Return the error for a message number or a thread id that is taken."""
    match constraint:
        case "messages_number" if decided.messages:
            return invariants.duplicate_message(decided.messages[0])
        case "threads_id" if decided.thread is not None:
            return invariants.duplicate_id(Thread, decided.thread.id)
        case _:
            return Internal(f"The database refused the change: {constraint}.")


TRIES_WITHOUT_LOCK = (
    4  # then rows are locked first, so that a change that always loses gets through
)
MAX_PAUSE_SECONDS = 0.005  # so that two changes that met do not meet again


class WriteAttempt:
    """Tracks if a change may have been written, so that it must not be repeated."""

    def __init__(self) -> None:
        self.started = False

    @property
    def repeatable(self) -> bool:
        """True if the change can be repeated with another connection."""
        return not self.started


class _Overtaken(Exception):
    """The records that the change was decided from have changed."""


class _Written(NamedTuple):
    read: ReadResult
    decided: ChangeSet


async def change(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Committed:
    """See `RunStore.change`."""
    made = await _change_with_retry(connection, read_set, decide, known, attempt)
    if not isinstance(made, _Written):
        return Committed(made)
    known.record(made.read, made.decided, made.read.owner or made.decided.owner or read_set.owner)
    hit(f"{read_set.what}.after_commit")
    await join_segments(connection, made.read, made.decided)
    return Committed(made.decided.answer, made.decided)


async def claim(
    connection: Connection[Any],
    decide: Decide,
    serves: Serves,
    declined: Sequence[str],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Claim | None:
    """See `RunStore.claim`; after a lost race it takes a run that no other worker takes."""
    firsts = await fetch_rows(connection, "next_wanted", declined=list(declined))
    served = [(run_id, destination) for run_id, destination in firsts if serves(destination)]
    if not served:
        return None
    run_id = served[0][0]
    among = {"destinations": [each for _, each in served], "declined": list(declined)}
    wanted = partial(_decide_if_queued, decide)
    made = await _claim_run(connection, run_id, wanted, among, known, attempt)
    if not isinstance(made, _Written) or made.read.row is None:
        return None
    known.record(made.read, made.decided, made.read.owner)
    hit("claim.after_commit")
    for update in made.decided.run_updates:
        if update.run.status is Status.IN_PROGRESS:
            return Claim(made.read.row.owner, update.run, update.lease, made.decided)
    return None


async def _claim_run(
    connection: Connection[Any],
    run_id: str,
    decide: Decide,
    among: Mapping[str, Sequence[str]],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    with suppress(*_RACE_FAULTS):
        return await _try_change(connection, _claim_read_set(run_id), decide, known, attempt)
    while True:
        with suppress(*_RACE_FAULTS):
            return await _claim_locked(connection, decide, among, known, attempt)


def _claim_read_set(run_id: str) -> ReadSet:
    return ReadSet(owner=None, run_id=run_id, what="claim")


def _decide_if_queued(decide: Decide, records: Snapshot) -> ChangeSet | None:
    run, lease = records.run, records.lease
    if run is None or lease is None or run.status is not Status.QUEUED or not lease.wanted:
        raise _Overtaken
    return decide(records)


async def _claim_locked(
    connection: Connection[Any],
    decide: Decide,
    among: Mapping[str, Sequence[str]],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    async with connection.transaction():
        run_id = await fetch_value(connection, "claim_next_wanted", **among)
        if run_id is None:
            return None
        return await _try_change(connection, _claim_read_set(run_id), decide, known, attempt)


async def _change_with_retry(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    """Retry the change after each lost race; the decision is pure, so it can be repeated."""
    tries = 0
    has_parts = False
    while True:
        tries += 1
        try:
            if tries <= TRIES_WITHOUT_LOCK:
                return await _try_change(connection, read_set, decide, known, attempt)
            return await _try_change_locked(connection, read_set, decide, known, attempt)
        except _RACE_FAULTS:
            await asyncio.sleep(random.uniform(0, MAX_PAUSE_SECONDS))  # noqa: S311 - no secret
        except asyncpg.CheckViolationError:
            # The log had no part for today, unless another check refused the change. Another
            # process may have made the part meanwhile.
            now = await fetch_value(connection, "now", now=known.given_time)
            if not await make_parts(connection, now // DAY_MS) and has_parts:
                raise
            has_parts = True


async def _try_change_locked(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    async with connection.transaction():
        names = {"thread_id": read_set.thread_id, "run_id": read_set.run_id}
        await fetch_value(connection, "lock_change", **names)
        await fetch_value(connection, "lock_key", key_id=read_set.key_id)
        await fetch_value(connection, "lock_run", **names)
        await fetch_value(connection, "lock_schedule", schedule_id=read_set.schedule_id)
        return await _try_change(connection, read_set, decide, known, attempt)


async def _try_change(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    """Return what was written, or the stored answer, or None. Raises `_Overtaken`."""
    read = await reads.read_change(connection, read_set, known.given_time)
    known.observe_time(read.records.now)
    if read.answer is not None:
        return read.answer
    decided = decide(read.records)
    if decided is None:
        return None
    return await _write_if_current(connection, read_set, read, decided, known, attempt)


async def _write_if_current(
    connection: Connection[Any],
    read_set: ReadSet,
    read: ReadResult,
    decided: ChangeSet,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> _Written:
    hit(f"{read_set.what}.before_commit")
    attempt.started = True
    try:
        draft = await ChangeDraft.of(read_set, read, decided)
        written = await write_changes(connection, [draft], wait=True)
    except asyncpg.UniqueViolationError as fault:
        raise await _translate_unique_violation(connection, fault, decided) from fault
    if not written:
        attempt.started = False
        raise _Overtaken
    return _Written(read, decided)


async def raise_unique_violation(
    connection: Connection[Any], fault: asyncpg.UniqueViolationError, decided: ChangeSet
) -> None:
    """Raise the error for two changes of which only one is possible.

    Returns if the change must be decided again.
    """
    translated = await _translate_unique_violation(connection, fault, decided)
    if not isinstance(translated, _Overtaken):
        raise translated from fault


async def _translate_unique_violation(
    connection: Connection[Any], fault: asyncpg.UniqueViolationError, decided: ChangeSet
) -> Exception:
    """Return the error for two changes of which only one is possible."""
    match fault.constraint_name:
        case "active_run" if not connection.is_in_transaction():
            thread_id = decided.run_updates[-1].run.thread_id
            active = await fetch_value(connection, "active_run", thread_id=thread_id)
            return invariants.second_run_error(thread_id, active) if active else _Overtaken()
        case "once_key" | "active_run":
            return _Overtaken()
        case name:
            return translate_conflict(name, decided)


_RACE_FAULTS = (_Overtaken, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
