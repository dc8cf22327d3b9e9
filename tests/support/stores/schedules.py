"""Schedules of a store, and the changes that start their occurrences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from antiphon.engine.snapshot import (
    ChangeSet,
    Committed,
    ReadSet,
    RunUpdate,
    ScheduleUpdate,
    Snapshot,
)
from antiphon.ports import Store
from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import RunLease
from antiphon.types.schedules import Occurrence, Schedule, StoredSchedule
from tests.support.stores.steps import a_run, a_thread, status_of


def a_schedule(number: int = 1, owner: str = "ann", **fields: Any) -> StoredSchedule:
    defaults: dict[str, Any] = {"cron": "*/10 * * * *", "next_at": 1_200_000, "message": "Report."}
    schedule = Schedule(
        **{"id": f"sched_{number}", "created_at": 1, "updated_at": 1, **defaults, **fields}
    )
    return StoredSchedule(owner, schedule, "key_1", "")


def a_schedule_entry(number: int = 1) -> AuditEntry:
    return AuditEntry(
        id=f"audit_sched_{number}", at=1, actor="ann", what="schedule.created", target="sched"
    )


async def add_schedule(
    store: Store, number: int = 1, owner: str = "ann", **fields: Any
) -> StoredSchedule:
    stored = a_schedule(number, owner, **fields)
    await store.add_schedule(stored, 10, a_schedule_entry(number))
    return stored


def start_once(stored: StoredSchedule, number: int = 1) -> Callable[[Snapshot], ChangeSet | None]:
    """Start the next occurrence of the schedule if the schedule is unchanged."""
    due_at = stored.schedule.next_at
    assert due_at is not None

    def decide(records: Snapshot) -> ChangeSet | None:
        if records.schedule != stored:
            return None
        thread, run = a_thread(number), a_run(number, f"thread_{number}")
        occurrence = Occurrence(
            id=f"occ_{number}",
            schedule_id=stored.schedule.id,
            status="started",
            due_at=due_at,
            run_id=run.id,
            thread_id=thread.id,
            created_at=records.now,
        )
        moved_schedule = replace(stored.schedule, next_at=due_at + 600_000, last_run_id=run.id)
        return ChangeSet(
            owner=stored.owner,
            thread=thread,
            run_updates=(RunUpdate(run, RunLease(last_event=1, wanted=True), (status_of(run),)),),
            schedule_update=ScheduleUpdate(replace(stored, schedule=moved_schedule), (occurrence,)),
            answer=run.id,
        )

    return decide


async def start(store: Store, stored: StoredSchedule, number: int = 1) -> Committed:
    read_set = ReadSet(owner=None, schedule_id=stored.schedule.id, what="schedule")
    return await store.change(read_set, start_once(stored, number))
