"""Starts runs of schedules, each in the transaction that moves its schedule to the next time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from typing import Any, Literal

from msgspec.structs import replace

from antiphon.api.operations import NewMessage, Process
from antiphon.engine import schedules, transitions
from antiphon.engine.schedules import ON_TIME_MS, DueTimes
from antiphon.engine.snapshot import ChangeSet, Committed, IdempotencyKey, ReadSet, Snapshot
from antiphon.engine.threads import new_thread
from antiphon.engine.transitions import Claimant, RunSpec
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.services.assistants import RunSpecResolver
from antiphon.runtime.services.runs import RunStarter, quota_key
from antiphon.runtime.time_zones import load_zone
from antiphon.types import errors
from antiphon.types.accounts import Key, Principal
from antiphon.types.ids import Mint
from antiphon.types.runs import Fault, Run, Thread
from antiphon.types.schedules import Schedule, StoredSchedule

StartOutcome = Literal["started", "missed", "failed", "paused", "waiting", "moved"]
"""Outcome of an attempt to start what is due: a run began; the times were missed; it cannot be
started, which is recorded; the schedule was paused because it has lost its rights; it waits for
another run, a quota, or a program with other settings; or another program was first."""


def to_process(schedule: Schedule, at: int | None) -> Process:
    """Return the request of the run of an occurrence; `at` is None for one started by hand.

    Actions wait as long as the run may last, and expire with it: nobody is there to go on.
    """
    return Process(
        thread_id=schedule.thread_id,
        message=NewMessage(schedule.message),
        assistant_id=schedule.assistant_id,
        model=schedule.model,
        background=True,
        allowed_tools=schedule.allowed_tools,
        max_total_tokens=schedule.max_total_tokens,
        max_cost=schedule.max_cost,
        on_expiry="expire",
        expires_in=schedule.timeout,
        timeout=schedule.timeout,
        metadata=schedules.describe_occurrence(schedule, at),
    )


class OccurrenceStarter:
    """Starts the runs of schedules, at their times or by hand."""

    def __init__(
        self,
        store: Store,
        changes: ChangeCommitter,
        mint: Mint,
        run_specs: RunSpecResolver,
        starter: RunStarter,
    ) -> None:
        self._store = store
        self._changes = changes
        self._mint = mint
        self._run_specs = run_specs
        self._starter = starter

    async def start_due(self, stored: StoredSchedule) -> StartOutcome:
        """Start what is due of the schedule, one run at most. Raises `TryAgain`.

        Any number of programs may do this at once: one of them starts the run.
        """
        schedule = stored.schedule
        now, zone = await self._store.now(), load_zone(schedule.timezone)
        due = schedules.find_due_times(schedule, now, zone)
        if due is None:
            return "moved"
        if not self._run_specs.serves(stored.destination):
            return "waiting"
        if due.run_at is None:
            return await self._record(
                stored,
                due,
                lambda records: schedules.skip(stored, due, records.now, self._mint),
                "missed",
            )
        by = await self._find_principal(stored)
        if by is None:
            return await self._record(
                stored,
                due,
                lambda records: schedules.pause_without_rights(stored, records.now, self._mint),
                "paused",
            )
        if await self._is_running(schedule.last_run_id):
            return "waiting"
        return await self._start(stored, due, due.run_at, by)

    async def start_by_hand(
        self, stored: StoredSchedule, by: Principal, once: IdempotencyKey | None
    ) -> Any:
        """Start a run now; return it, or the stored answer. Raises `CallerError`, `TryAgain`.

        That an administrator starts a run of another owner is audited.
        """
        schedule = stored.schedule
        entry = None
        if by.administering:
            entry = await audit.create_entry(
                self._store, self._mint, by, "schedule.started", schedule.id, by.owner
            )
        spec = await self._run_specs.resolve(to_process(schedule, None), by.owner)
        zone = load_zone(schedule.timezone)

        def decide(records: Snapshot, spec: RunSpec, claimant: Claimant | None) -> ChangeSet:
            current = records.schedule
            if current is None:
                raise errors.NotFound(f"There is no schedule {schedule.id!r}.")
            change = self._create_run(records, stored, spec, by, records.now, zone, claimant)
            change = replace(change, audit_entry=entry)
            run = change.answer
            return schedules.start_by_hand(change, current, run, records.now, self._mint)

        return (await self._commit(stored, by, spec, decide, once)).answer

    async def _start(
        self, stored: StoredSchedule, due: DueTimes, at: int, by: Principal
    ) -> StartOutcome:
        """Start the run of the occurrence `at`, or record why it cannot be started."""
        try:
            has_started = await self._create_once(stored, due, at, by)
        except (errors.RunActive, errors.QuotaExceeded):
            return "waiting"
        except errors.BadSettings as error:
            # Another program may have what is missing here, such as a key.
            if await self._store.now() < at + ON_TIME_MS:
                return "waiting"
            return await self._fail(stored, due, error)
        except errors.CallerError as error:
            return await self._fail(stored, due, error)
        return "started" if has_started else "moved"

    async def _create_once(
        self, stored: StoredSchedule, due: DueTimes, at: int, by: Principal
    ) -> bool:
        """Create the run, if the schedule still is as it was read; return whether it was."""
        spec = await self._run_specs.resolve(to_process(stored.schedule, at), stored.owner)
        zone = load_zone(stored.schedule.timezone)

        def decide(records: Snapshot, spec: RunSpec, claimant: Claimant | None) -> ChangeSet | None:
            if not schedules.is_due(records, stored, due):
                return None
            change = self._create_run(records, stored, spec, by, at, zone, claimant)
            return schedules.record_start(
                change, stored, due, change.answer, records.now, self._mint
            )

        committed = await self._commit(stored, by, spec, decide, None)
        return committed.change is not None

    def _create_run(
        self,
        records: Snapshot,
        stored: StoredSchedule,
        spec: RunSpec,
        by: Principal,
        at: int,
        zone: tzinfo,
        claimant: Claimant | None,
    ) -> ChangeSet:
        """Return the change that creates the run, which is its answer, and a thread if needed."""
        schedule = stored.schedule
        thread = None
        if schedule.thread_id is None:
            title = schedules.title_of(schedule, at, zone)
            metadata = {"schedule_id": schedule.id}
            thread = new_thread(self._mint, records.now, title=title, metadata=metadata)
        change = transitions.create_run(
            records,
            spec,
            self._mint,
            by=by,
            message=NewMessage(schedule.message),
            new_thread=thread,
            ask=True,
            claimant=claimant,
        )
        return replace(change, answer=change.answer.run)

    async def _commit(
        self,
        stored: StoredSchedule,
        by: Principal,
        spec: RunSpec,
        decide: Callable[..., ChangeSet | None],
        once: IdempotencyKey | None,
    ) -> Committed:
        """Commit the run; a transaction that meets a folder reads it, and is repeated."""
        read_set = ReadSet(
            owner=stored.owner,
            thread_id=stored.schedule.thread_id,
            schedule_id=stored.schedule.id,
            key_id=quota_key(by),
            idempotency_key=once,
            personal=spec.draft.personal,
            what="start_schedule",
        )

        while True:
            try:
                deciding = partial(decide, spec=spec)
                return await self._starter.commit_and_start(stored.owner, read_set, deciding)
            except transitions.FolderMismatch as mismatch:
                spec = await self._run_specs.read_folder(spec, mismatch.folder_id, stored.owner)

    async def _fail(
        self, stored: StoredSchedule, due: DueTimes, error: errors.AntiphonError
    ) -> StartOutcome:
        fault = Fault(error.code, error.message)
        return await self._record(
            stored,
            due,
            lambda records: schedules.fail(stored, due, fault, records.now, self._mint),
            "failed",
        )

    async def _record(
        self,
        stored: StoredSchedule,
        due: DueTimes,
        decide: Callable[[Snapshot], ChangeSet],
        outcome: StartOutcome,
    ) -> StartOutcome:
        """Write what became of the times that are due, unless another program was first."""
        read_set = ReadSet(
            owner=stored.owner, schedule_id=stored.schedule.id, what="record_occurrence"
        )
        committed = await self._changes.commit(
            read_set,
            lambda records: decide(records) if schedules.is_due(records, stored, due) else None,
        )
        return outcome if committed.change is not None else "moved"

    async def _is_running(self, run_id: str | None) -> bool:
        if run_id is None:
            return False
        try:
            return not (await self._store.get(Run, None, run_id)).status.ended
        except errors.NotFound:
            return False

    async def _find_principal(self, stored: StoredSchedule) -> Principal | None:
        """Return the principal of the schedule's runs; None if it has no rights any more."""
        if not await self._is_enabled(stored.owner):
            return None
        if stored.key_id is None:
            return Principal(owner=stored.owner)
        key = next((each for each in await self._store.keys() if each.id == stored.key_id), None)
        if key is None or not _is_valid(key, await self._store.now()):
            return None
        return Principal(
            owner=stored.owner,
            key_id=key.id,
            actor=key.person_id or key.id,
            limits=key.limits,
        )

    async def _is_enabled(self, owner: str) -> bool:
        """Return whether the owner is no person or project that was disabled or removed."""
        match owner.partition("_")[0]:
            case "person":
                account = await self._store.find_person(id=owner)
                return account is not None and not account.person.disabled
            case "proj":
                projects = await self._store.projects()
                return any(each.id == owner and not each.disabled for each in projects)
            case _:
                return True

    async def check_thread(self, owner: str, thread_id: str | None) -> None:
        """Raise `NotFound` for another owner's thread, `InvalidRequest` for a temporary one."""
        if thread_id is None:
            return
        if (await self._store.get(Thread, owner, thread_id)).temporary:
            raise errors.InvalidRequest(
                "A temporary thread is deleted soon, and cannot have a schedule.",
                expected="a thread that stays",
                where="$.thread_id",
            )


def _is_valid(key: Key, now: int) -> bool:
    is_expired = key.expires_at is not None and key.expires_at <= now
    return key.revoked_at is None and not is_expired and bool({"write", "admin"} & {*key.scopes})
