"""Operations on schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import (
    Deleted,
    Listed,
    Operation,
    OwnedSchedule,
    ScheduledTime,
    ScheduledTimes,
    field_values,
    select_given_fields,
)
from antiphon.engine import schedules
from antiphon.engine.cron import next_after, parse_cron
from antiphon.engine.destinations import provider_name
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import SCHEDULES, Bus, Store
from antiphon.runtime.admin import audit
from antiphon.runtime.responses import OperationHandler, to_listed
from antiphon.runtime.services.assistants import RunSpecResolver
from antiphon.runtime.services.occurrences import OccurrenceStarter, to_process
from antiphon.runtime.time_zones import find_zone
from antiphon.settings.settings import Settings
from antiphon.types.accounts import AuditAction, AuditEntry, Principal
from antiphon.types.errors import Forbidden, NotFound
from antiphon.types.ids import Mint
from antiphon.types.runs import Run, RunLease, Status
from antiphon.types.schedules import Occurrence, Schedule, StoredSchedule


class ScheduleService:
    """Creates, reads, changes, runs and deletes schedules, and lists their history."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        mint: Mint,
        run_specs: RunSpecResolver,
        occurrences: OccurrenceStarter,
        settings: Settings,
    ) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._run_specs = run_specs
        self._occurrences = occurrences
        self._enabled = settings.schedules
        self._limit = settings.max_schedules
        self._min_interval = settings.min_schedule_interval
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateSchedule: self._create,
            operations.ListSchedules: self._list,
            operations.GetSchedule: self._get,
            operations.UpdateSchedule: self._update,
            operations.DeleteSchedule: self._delete,
            operations.RunSchedule: self._run,
            operations.ListOccurrences: self._list_occurrences,
            operations.PreviewSchedule: self._preview,
            operations.ListAllSchedules: self._list_all,
        }

    async def _create(
        self, operation: operations.CreateSchedule, by: Principal, _: IdempotencyKey | None
    ) -> Schedule:
        self._require_enabled()
        now = await self._store.now()
        zone = await find_zone(operation.timezone)
        schedules.validate_times(operation.cron, operation.run_at, now, zone, self._min_interval)
        fields = field_values(operation)
        paused = fields.pop("paused")
        schedule = Schedule(id=self._mint("sched"), created_at=now, updated_at=now, **fields)
        if paused:
            schedule = schedules.pause(schedule, "owner", now)
        stored = await self._with_rights(schedules.set_next_time(schedule, now, zone), by)
        entry = await self._entry("schedule.created", schedule.id, by)
        await self._store.add_schedule(stored, self._limit, entry)
        self._bus.notify(SCHEDULES)
        return stored.schedule

    async def _list(
        self, _operation: operations.ListSchedules, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Schedule]:
        stored = await self._store.schedules(by.owner)
        return Listed([self._describe(each) for each in stored], has_more=False)

    async def _list_all(
        self, _operation: operations.ListAllSchedules, _by: Principal, _: IdempotencyKey | None
    ) -> Listed[OwnedSchedule]:
        stored = await self._store.schedules(None)
        found = [OwnedSchedule(each.owner, self._describe(each)) for each in stored]
        return Listed(found, has_more=False)

    async def _get(
        self, operation: operations.GetSchedule, by: Principal, _: IdempotencyKey | None
    ) -> Schedule:
        return self._describe(await self._store.find_schedule(by.owner, operation.schedule_id))

    async def _update(
        self, operation: operations.UpdateSchedule, by: Principal, _: IdempotencyKey | None
    ) -> Schedule:
        self._require_enabled()
        changes = select_given_fields(operation, but="schedule_id")
        is_paused = changes.pop("paused", None)
        before = await self._store.find_schedule(by.owner, operation.schedule_id)
        now = await self._store.now()
        zone = await find_zone(changes.get("timezone", before.schedule.timezone))
        if "cron" in changes and "run_at" not in changes:
            changes["run_at"] = None
        elif "run_at" in changes and "cron" not in changes:
            changes["cron"] = None
        moves = bool(changes.keys() & {"cron", "run_at", "timezone"})

        def amend(schedule: Schedule) -> Schedule:
            changed = replace(schedule, **changes)
            if is_paused is True:
                changed = schedules.pause(changed, "owner", now)
            elif is_paused is False and schedule.paused:
                changed = schedules.resume(changed, now, zone)
            elif moves:
                changed = schedules.set_next_time(changed, now, zone)
            return changed if changed == schedule else replace(changed, updated_at=now)

        planned = amend(before.schedule)
        resumes_cron = before.schedule.paused and not planned.paused and planned.cron is not None
        if moves or resumes_cron:  # it may have come from where it could run more often
            schedules.validate_times(planned.cron, planned.run_at, now, zone, self._min_interval)
        rights = await self._with_rights(planned, by)

        def change(stored: StoredSchedule) -> StoredSchedule:
            schedule = amend(stored.schedule)
            return StoredSchedule(stored.owner, schedule, rights.key_id, rights.destination)

        entry = await self._entry(
            _name_change(is_paused, changes),
            operation.schedule_id,
            by,
            changed=" ".join(sorted(select_given_fields(operation, but="schedule_id"))),
        )
        changed = await self._store.change_schedule(by.owner, operation.schedule_id, change, entry)
        self._bus.notify(SCHEDULES)
        if changed is None:
            raise NotFound(f"There is no schedule {operation.schedule_id!r}.")
        return changed

    async def _delete(
        self, operation: operations.DeleteSchedule, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        entry = await self._entry("schedule.removed", operation.schedule_id, by)
        await self._store.change_schedule(by.owner, operation.schedule_id, lambda _: None, entry)
        return Deleted(operation.schedule_id)

    async def _run(
        self, operation: operations.RunSchedule, by: Principal, once: IdempotencyKey | None
    ) -> Any:
        self._require_enabled()
        stored = await self._store.find_schedule(by.owner, operation.schedule_id)
        return await self._occurrences.start_by_hand(stored, by, once)

    async def _list_occurrences(
        self, operation: operations.ListOccurrences, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Occurrence]:
        page = await self._store.occurrences(
            by.owner, operation.schedule_id, operation.limit, operation.after
        )
        statuses = await asyncio.gather(*(self._find_status(each.run_id) for each in page.data))
        found = [
            replace(each, run_status=status)
            for each, status in zip(page.data, statuses, strict=True)
        ]
        return to_listed(replace(page, data=found))

    async def _find_status(self, run_id: str | None) -> Status | None:
        if run_id is None:
            return None
        try:
            return (await self._store.get(Run, None, run_id)).status
        except NotFound:
            return None

    async def _preview(
        self, operation: operations.PreviewSchedule, _by: Principal, _: IdempotencyKey | None
    ) -> ScheduledTimes:
        now = await self._store.now()
        zone = await find_zone(operation.timezone)
        schedules.validate_times(operation.cron, None, now, zone, self._min_interval)
        parsed, found, at = parse_cron(operation.cron), list[ScheduledTime](), now
        while len(found) < operation.count and (after := next_after(parsed, at, zone)) is not None:
            at = after
            found.append(ScheduledTime(at, datetime.fromtimestamp(at / 1000, zone).isoformat()))
        return ScheduledTimes(found)

    async def _with_rights(self, schedule: Schedule, by: Principal) -> StoredSchedule:
        """Return the schedule with the caller's rights, and the destination of its runs.

        Raises `CallerError` where no run can be started.
        """
        await self._occurrences.check_thread(by.owner, schedule.thread_id)
        spec = await self._run_specs.resolve(to_process(schedule, None), by.owner)
        return StoredSchedule(by.owner, schedule, by.key_id, spec.destination)

    def _describe(self, stored: StoredSchedule) -> Schedule:
        """Return the schedule; one that cannot be run from here says what it waits for."""
        if self._run_specs.serves(stored.destination):
            return stored.schedule
        waits_for = provider_name(RunLease(destination=stored.destination))
        return replace(stored.schedule, waiting_for=waits_for)

    async def _entry(
        self, what: AuditAction, schedule_id: str, by: Principal, **details: str
    ) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, schedule_id, by.owner, **details
        )

    def _require_enabled(self) -> None:
        if not self._enabled:
            raise Forbidden(
                "Schedules are off here.",
                hint="An operator can allow them by the setting schedules.",
            )


def _name_change(is_paused: bool | None, changes: Mapping[str, Any]) -> AuditAction:
    if is_paused is None or changes:
        return "schedule.changed"
    return "schedule.paused" if is_paused else "schedule.resumed"
