"""Changes and claims in PostgreSQL: read, decide, write, and anew where somebody was quicker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import asyncpg
from asyncpg.connection import Connection

from antiphon.failpoints import hit
from antiphon.ports import About, Change, Claim, Decide, Records
from antiphon.runs import Status
from antiphon.stores import rules
from antiphon.stores.postgres import reads, writes
from antiphon.stores.postgres.connections import value
from antiphon.stores.postgres.reads import Read
from antiphon.stores.postgres.schema import DAY_MS, make_parts

FREE_TRIES = 4  # before the rows are locked first: whoever is always overtaken gets through
LONGEST_PAUSE = 0.005  # seconds, so that those who met do not meet again


class Attempt:
    """Whether a change may have been written already, so that it must not be made once more."""

    def __init__(self) -> None:
        self.begun = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be made anew with another connection."""
        return not self.begun


class _Overtaken(Exception):
    """What was decided upon is so no more."""


class _Made(NamedTuple):
    read: Read
    decided: Change


class _Among(NamedTuple):
    """The runs among which one is claimed: the end of the statements' names, and their values."""

    suffix: str
    values: dict[str, list[str]]


async def change(
    connection: Connection[Any], about: About, decide: Decide, now: int | None, attempt: Attempt
) -> Any:
    """See `Store.change`."""
    made = await _persistently(connection, about, decide, now, attempt)
    if not isinstance(made, _Made):
        return made
    hit(f"{about.what}.after_commit")
    with suppress(asyncpg.PostgresError):  # the next that completes a segment does it
        await writes.seal(connection, made.read, made.decided)
    return made.decided.answer


async def claim(
    connection: Connection[Any],
    decide: Decide,
    destinations: Sequence[str] | None,
    declined: Sequence[str],
    now: int | None,
    attempt: Attempt,
) -> Claim | None:
    """See `Store.claim`; who is forestalled takes what nobody else is about to take."""
    among = _Among("", {"declined": list(declined)})
    if destinations is not None:
        among = _Among("_of", {**among.values, "destinations": list(destinations)})
    run_id = await value(connection, f"next_wanted{among.suffix}", **among.values)
    if run_id is None:
        return None
    wanted = partial(_if_wanted, decide)
    made = await _claimed(connection, run_id, wanted, among, now, attempt)
    if not isinstance(made, _Made) or made.read.kept is None:
        return None
    hit("claim.after_commit")
    for driven in made.decided.driven:
        if driven.run.status is Status.IN_PROGRESS:
            return Claim(made.read.kept.owner, driven.run, driven.drive)
    return None


async def _claimed(
    connection: Connection[Any],
    run_id: str,
    decide: Decide,
    among: _Among,
    now: int | None,
    attempt: Attempt,
) -> Any:
    with suppress(*_FORESTALLED):
        return await _try(connection, _claiming(run_id), decide, now, attempt)
    while True:
        with suppress(*_FORESTALLED):
            return await _claim_locked(connection, decide, among, now, attempt)


def _claiming(run_id: str) -> About:
    return About(owner=None, run_id=run_id, what="claim")


def _if_wanted(decide: Decide, records: Records) -> Change | None:
    run, drive = records.run, records.drive
    if run is None or drive is None or run.status is not Status.QUEUED or not drive.wanted:
        raise _Overtaken
    return decide(records)


async def _claim_locked(
    connection: Connection[Any],
    decide: Decide,
    among: _Among,
    now: int | None,
    attempt: Attempt,
) -> Any:
    async with connection.transaction():
        run_id = await value(connection, f"claim_next_wanted{among.suffix}", **among.values)
        if run_id is None:
            return None
        return await _try(connection, _claiming(run_id), decide, now, attempt)


async def _persistently(
    connection: Connection[Any], about: About, decide: Decide, now: int | None, attempt: Attempt
) -> Any:
    """Until nobody was quicker: pure as it is, the decision can be made as often as it takes."""
    tries = 0
    while True:
        tries += 1
        try:
            if tries <= FREE_TRIES:
                return await _try(connection, about, decide, now, attempt)
            return await _try_locked(connection, about, decide, now, attempt)
        except _FORESTALLED:
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 - no secret
        except asyncpg.CheckViolationError:
            if not await _made_part(connection, now):
                raise


async def _made_part(connection: Connection[Any], now: int | None) -> bool:
    """Whether the log lacked a part for the runs of today, and has it now."""
    return await make_parts(connection, await value(connection, "now", now=now) // DAY_MS)


async def _try_locked(
    connection: Connection[Any], about: About, decide: Decide, now: int | None, attempt: Attempt
) -> Any:
    async with connection.transaction():
        names = {"thread_id": about.thread_id, "run_id": about.run_id}
        await value(connection, "lock_change", **names)
        await value(connection, "lock_key", key_id=about.key_id)
        await value(connection, "lock_run", **names)
        return await _try(connection, about, decide, now, attempt)


async def _try(
    connection: Connection[Any], about: About, decide: Decide, now: int | None, attempt: Attempt
) -> Any:
    """What was made, or the answer of before, or None; raises `_Overtaken`."""
    read = await reads.change(connection, about, now)
    if read.answer is not None:
        return read.answer
    decided = decide(read.records)
    if decided is None:
        return None
    hit(f"{about.what}.before_commit")
    attempt.begun = True
    try:
        written = await writes.write(connection, about, read, decided)
    except asyncpg.UniqueViolationError as fault:
        raise await _refused(connection, fault, decided) from fault
    if not written:
        attempt.begun = False
        raise _Overtaken
    return _Made(read, decided)


async def _refused(
    connection: Connection[Any], fault: asyncpg.UniqueViolationError, decided: Change
) -> Exception:
    """What two that cannot both be are called."""
    match fault.constraint_name:
        case "active_run" if not connection.is_in_transaction():
            thread_id = decided.driven[-1].run.thread_id
            active = await value(connection, "active_run", thread_id=thread_id)
            return rules.already_active(thread_id, active) if active else _Overtaken()
        case "once_key" | "active_run":
            return _Overtaken()
        case name:
            return writes.refused(name, decided)


_FORESTALLED = (_Overtaken, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
