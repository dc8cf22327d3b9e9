"""ScheduleStore: schedules and their history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.ports.records import RecordPage, RecordStore
from antiphon.types.accounts import AuditEntry
from antiphon.types.schedules import Schedule, StoredSchedule

AmendSchedule = Callable[[StoredSchedule], StoredSchedule | None]
"""Pure function from a schedule to the new one; None removes it."""


class ScheduleStore(RecordStore, Protocol):
    """Stores schedules, and the history of their occurrences.

    `RunStore.change` writes the `ScheduleUpdate` that starts an occurrence together with its run.
    """

    async def add_schedule(self, stored: StoredSchedule, limit: int, entry: AuditEntry) -> None:
        """Add a schedule. Raises `Conflict` if its owner has `limit` schedules."""
        ...

    async def schedules(self, owner: str | None) -> Sequence[StoredSchedule]:
        """Return the schedules of an owner, or all, oldest first."""
        ...

    async def find_schedule(self, owner: str, schedule_id: str) -> StoredSchedule:
        """Return the schedule. Raises `NotFound`."""
        ...

    async def change_schedule(
        self, owner: str, schedule_id: str, amend: AmendSchedule, entry: AuditEntry
    ) -> Schedule | None:
        """Replace the schedule by the result of `amend`; an exception changes nothing.

        A schedule is removed with its history. Raises `NotFound`.
        """
        ...

    async def due_schedules(self, limit: int, after: str = "") -> Sequence[StoredSchedule]:
        """Return schedules whose next time has come, in the order of their ids, after `after`."""
        ...

    async def next_schedule_time(self) -> int | None:
        """Return the earliest next time of all schedules (ms), which may have passed."""
        ...

    async def occurrences(
        self, owner: str, schedule_id: str, limit: int, after: str | None = None
    ) -> RecordPage:
        """Return the history of a schedule, newest first, as `RunStore.list` does."""
        ...

    async def delete_occurrences(self, before: int, limit: int) -> int:
        """Delete up to `limit` records of history made before that time; return how many."""
        ...
