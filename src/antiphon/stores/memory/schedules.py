"""Schedules and their history in memory."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.engine.snapshot import ReadSet, ScheduleUpdate
from antiphon.ports import AmendSchedule, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration, delete_all
from antiphon.types.accounts import AuditEntry
from antiphon.types.schedules import Occurrence, Schedule, StoredSchedule


class MemorySchedules(MemoryAdministration):
    """`ScheduleStore`; both tables have the oldest first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._schedules: dict[str, StoredSchedule] = {}
        self._occurrences: dict[str, Occurrence] = {}

    async def add_schedule(self, stored: StoredSchedule, limit: int, entry: AuditEntry) -> None:
        """See `ScheduleStore.add_schedule`."""
        if len(await self.schedules(stored.owner)) >= limit:
            raise admin_rules.schedule_limit_error(limit)
        self._schedules[stored.schedule.id] = stored
        self._append_entry(entry)

    async def schedules(self, owner: str | None) -> Sequence[StoredSchedule]:
        """See `ScheduleStore.schedules`."""
        return [each for each in self._schedules.values() if owner in (None, each.owner)]

    async def find_schedule(self, owner: str, schedule_id: str) -> StoredSchedule:
        """See `ScheduleStore.find_schedule`."""
        stored = self._schedules.get(schedule_id)
        if stored is None or stored.owner != owner:
            raise invariants.not_found(Schedule, schedule_id)
        return stored

    async def change_schedule(
        self, owner: str, schedule_id: str, amend: AmendSchedule, entry: AuditEntry
    ) -> Schedule | None:
        """See `ScheduleStore.change_schedule`."""
        stored = await self.find_schedule(owner, schedule_id)
        changed = amend(stored)
        if changed == stored:
            return stored.schedule
        self._append_entry(entry)
        if changed is None:
            del self._schedules[schedule_id]
            self._delete_occurrences_of({schedule_id})
            return None
        self._schedules[schedule_id] = changed
        return changed.schedule

    async def due_schedules(self, limit: int, after: str = "") -> Sequence[StoredSchedule]:
        """See `ScheduleStore.due_schedules`."""
        now = self._clock()
        due = [
            each
            for each in self._schedules.values()
            if each.schedule.next_at is not None
            and each.schedule.next_at <= now
            and each.schedule.id > after
        ]
        return sorted(due, key=lambda each: each.schedule.id)[:limit]

    async def next_schedule_time(self) -> int | None:
        """See `ScheduleStore.next_schedule_time`."""
        times = (each.schedule.next_at for each in self._schedules.values())
        return min((time for time in times if time is not None), default=None)

    async def occurrences(
        self, owner: str, schedule_id: str, limit: int, after: str | None = None
    ) -> RecordPage:
        """See `ScheduleStore.occurrences`."""
        await self.find_schedule(owner, schedule_id)
        newest = [each for each in self._occurrences.values() if each.schedule_id == schedule_id]
        newest.reverse()
        if after is not None:
            places = [place for place, each in enumerate(newest, 1) if each.id == after]
            if not places:
                raise invariants.not_found(Occurrence, after)
            newest = newest[places[0] :]
        return RecordPage(newest[:limit], len(newest) > limit)

    async def delete_occurrences(self, before: int, limit: int) -> int:
        """See `ScheduleStore.delete_occurrences`."""
        old = [each.id for each in self._occurrences.values() if each.created_at < before]
        return delete_all(self._occurrences, old[:limit])

    def _read_schedule(self, read_set: ReadSet) -> StoredSchedule | None:
        """Return the schedule that a change reads, unless it is another owner's."""
        stored = self._schedules.get(read_set.schedule_id or "")
        return stored if stored and read_set.owner in (None, stored.owner) else None

    def _write_schedule(self, update: ScheduleUpdate | None) -> None:
        if update is not None:
            self._schedules[update.stored.schedule.id] = update.stored
            self._occurrences |= {each.id: each for each in update.occurrences}

    def _delete_schedules(self, owner: str) -> int:
        """Delete the schedules of an owner with their history; return how many rows."""
        theirs = {key for key, each in self._schedules.items() if each.owner == owner}
        deleted = self._delete_occurrences_of(theirs)
        return deleted + delete_all(self._schedules, list(theirs))

    def _delete_occurrences_of(self, schedule_ids: set[str]) -> int:
        gone = [key for key, each in self._occurrences.items() if each.schedule_id in schedule_ids]
        return delete_all(self._occurrences, gone)
