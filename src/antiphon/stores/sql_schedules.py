"""Schedules and their history in a SQL database, the same for SQLite and PostgreSQL.

The update of a schedule that starts a run is written by the change of the run itself, in
`write_schedule` of SQLite and the pieces `schedule_saved` and `occurrences_added` of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.ports import AmendSchedule, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import (
    Transaction,
    TransactionMethods,
    append_audit_entry,
    reading,
    writing,
)
from antiphon.types.accounts import AuditEntry
from antiphon.types.schedules import Occurrence, Schedule, StoredSchedule

_encode = msgspec.json.encode


async def add_schedule(
    sql: Transaction, stored: StoredSchedule, limit: int, entry: AuditEntry
) -> None:
    """See `ScheduleStore.add_schedule`."""
    await sql.execute("lock_schedules")
    (count,) = await sql.fetch_row("count_schedules", owner=stored.owner)
    if count >= limit:
        raise admin_rules.schedule_limit_error(limit)
    await sql.execute("add_schedule", owner=stored.owner, **schedule_columns(stored))
    await append_audit_entry(sql, entry)


async def list_schedules(sql: Transaction, owner: str | None) -> Sequence[StoredSchedule]:
    """See `ScheduleStore.schedules`."""
    return [to_schedule(row) for row in await sql.fetch("schedules", owner=owner)]


async def find_schedule(sql: Transaction, owner: str, schedule_id: str) -> StoredSchedule:
    """See `ScheduleStore.find_schedule`."""
    row = await sql.fetch_row("schedule", id=schedule_id)
    if row is None or row[0] != owner:
        raise invariants.not_found(Schedule, schedule_id)
    return to_schedule(row)


async def change_schedule(
    sql: Transaction, owner: str, schedule_id: str, amend: AmendSchedule, entry: AuditEntry
) -> Schedule | None:
    """See `ScheduleStore.change_schedule`."""
    row = await sql.fetch_row("schedule_for_update", id=schedule_id)
    if row is None or row[0] != owner:
        raise invariants.not_found(Schedule, schedule_id)
    stored = to_schedule(row)
    changed = amend(stored)
    if changed == stored:
        return stored.schedule
    if changed is None:
        await sql.execute("remove_occurrences", schedule_id=schedule_id)
        await sql.execute("remove_schedule", id=schedule_id)
    else:
        await sql.execute("save_schedule", **schedule_columns(changed))
    await append_audit_entry(sql, entry)
    return changed.schedule if changed else None


async def due_schedules(sql: Transaction, limit: int, after: str = "") -> Sequence[StoredSchedule]:
    """See `ScheduleStore.due_schedules`."""
    values = {"at": await sql.now(), "after": after, "limit": limit}
    return [to_schedule(row) for row in await sql.fetch("due_schedules", **values)]


async def next_schedule_time(sql: Transaction) -> int | None:
    """See `ScheduleStore.next_schedule_time`."""
    (found,) = await sql.fetch_row("next_schedule_time")
    return None if found is None else int(found)


async def list_occurrences(
    sql: Transaction, owner: str, schedule_id: str, limit: int, after: str | None = None
) -> RecordPage:
    """See `ScheduleStore.occurrences`."""
    await find_schedule(sql, owner, schedule_id)
    place = 2**63 - 1
    if after is not None:
        row = await sql.fetch_row("occurrence_place", schedule_id=schedule_id, id=after)
        if row is None:
            raise invariants.not_found(Occurrence, after)
        (place,) = row
    rows = await sql.fetch("occurrences", schedule_id=schedule_id, place=place, limit=limit + 1)
    found = [decoder(Occurrence)(doc) for (doc,) in rows[:limit]]
    return RecordPage(found, len(rows) > limit)


async def delete_occurrences(sql: Transaction, before: int, limit: int) -> int:
    """See `ScheduleStore.delete_occurrences`."""
    return await sql.execute("expire_occurrences", before=before, limit=limit)


def to_schedule(row: Any) -> StoredSchedule:
    """Return the schedule of a row: owner, key, destination and document."""
    owner, key_id, destination, doc, *_ = row
    return StoredSchedule(owner, decoder(Schedule)(bytes(doc)), key_id, destination)


def schedule_columns(stored: StoredSchedule) -> dict[str, Any]:
    """Return the columns of a schedule but for its owner, which never changes."""
    return {
        "id": stored.schedule.id,
        "next_at": stored.schedule.next_at,
        "key_id": stored.key_id,
        "destination": stored.destination,
        "doc": _encode(stored.schedule),
    }


def occurrence_columns(occurrence: Occurrence) -> dict[str, Any]:
    """Return the columns of a record of history but for its owner."""
    return {
        "id": occurrence.id,
        "schedule_id": occurrence.schedule_id,
        "status": occurrence.status,
        "due_at": occurrence.due_at,
        "created_at": occurrence.created_at,
        "doc": _encode(occurrence),
    }


class ScheduleMethods(TransactionMethods):
    """`ScheduleStore`: each method is a function of this module."""

    add_schedule = writing("schedule", add_schedule)
    schedules = reading(list_schedules)
    find_schedule = reading(find_schedule)
    change_schedule = writing("schedule", change_schedule, slow=True)
    due_schedules = reading(due_schedules)
    next_schedule_time = reading(next_schedule_time)
    occurrences = reading(list_occurrences)
    delete_occurrences = writing("forget", delete_occurrences, single=True)
