"""Decisions about schedules: what is due, and what follows from starting it or failing to.

An occurrence is started by the change that creates its run: the same transaction checks that the
occurrence is still due, moves the schedule to its next one, and writes both down. Whatever happens
to a program in between, there is one run or none yet.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

import msgspec
from msgspec.structs import replace

from antiphon.engine.cron import Cron, last_times, next_after, parse_cron, shortest_interval
from antiphon.engine.snapshot import ChangeSet, ScheduleUpdate, Snapshot
from antiphon.types.accounts import AuditAction, AuditEntry
from antiphon.types.errors import InvalidRequest
from antiphon.types.ids import Mint
from antiphon.types.runs import Fault, Run
from antiphon.types.schedules import Occurrence, PauseReason, Schedule, StoredSchedule

ON_TIME_MS = 600_000
"""Delay of the beginning of an occurrence, in ms, above which it counts as missed."""
MAX_FAILURES = 5
"""Occurrences in a row that cannot be started before their schedule is paused."""
MAX_AHEAD_MS = 10 * 366 * 86_400_000
"""Distance of the furthest single time, in ms."""
BACKEND = "backend"
"""The actor of audit entries that no person caused."""


class DueTimes(msgspec.Struct, frozen=True):
    """The outcome of a look at a schedule that is due. Times in ms.

    A run is to be started for `run_at`, if that is not None. The times from the first to the last
    of `missed` were missed. `next_at` is when the schedule is due again.
    """

    run_at: int | None
    missed: tuple[int, int] | None
    next_at: int | None


def find_due_times(schedule: Schedule, now: int, zone: tzinfo) -> DueTimes | None:
    """Return what is due of the schedule by its policy for missed times; None if nothing is."""
    first = schedule.next_at
    if schedule.paused or first is None or first > now:
        return None
    runs_all = schedule.missed == "run_all"
    times = [first]
    if schedule.cron is not None:
        limit = schedule.max_missed if runs_all else 1
        cron = parse_cron(schedule.cron)
        times = list(last_times(cron, first, now, zone, limit)) or [first]
    run_at: int | None = times[0]
    next_at = times[1] if len(times) > 1 else find_next_time(schedule, times[-1], zone)
    missed = _span_before(schedule, first, times[0], zone)
    if schedule.missed == "skip" and now - times[0] > ON_TIME_MS:
        run_at, missed = None, (first, times[0])
    return DueTimes(run_at, missed, next_at)


def _span_before(schedule: Schedule, first: int, kept: int, zone: tzinfo) -> tuple[int, int] | None:
    """Return the first and the last time of those before `kept`, if there are any."""
    if first >= kept or schedule.cron is None:
        return None
    before = last_times(parse_cron(schedule.cron), first, kept - 1, zone, 1)
    return first, (before[-1] if before else first)


def find_next_time(schedule: Schedule, after: int, zone: tzinfo) -> int | None:
    """Return the first time of the schedule after `after` (ms), whether or not it is paused."""
    if schedule.cron is not None:
        return next_after(parse_cron(schedule.cron), after, zone)
    return schedule.run_at if schedule.run_at is not None and schedule.run_at > after else None


def validate_times(
    cron: str | None, run_at: int | None, now: int, zone: tzinfo, min_interval: int
) -> None:
    """Check the times of a schedule. Raises `InvalidRequest`."""
    if (cron is None) == (run_at is None):
        raise InvalidRequest(
            "A schedule has a cron expression or one time.",
            expected="cron or run_at",
            received="neither" if cron is None else "both",
        )
    if cron is not None:
        _validate_cron(parse_cron(cron), now, zone, min_interval)
    elif run_at is not None and not now < run_at <= now + MAX_AHEAD_MS:
        raise InvalidRequest(
            "The time of a schedule is in the future.",
            expected=f"{now + 1} to {now + MAX_AHEAD_MS}, in ms since 1970",
            received=str(run_at),
            where="$.run_at",
        )


def _validate_cron(cron: Cron, now: int, zone: tzinfo, min_interval: int) -> None:
    if next_after(cron, now, zone) is None:
        raise InvalidRequest(
            "The cron expression names no time: there is no such date.",
            expected="an expression with a time in the next 45 years",
            where="$.cron",
        )
    interval = shortest_interval(cron)
    if interval is not None and interval < min_interval:
        raise InvalidRequest(
            "The schedule would run too often.",
            expected=f"at least {min_interval} seconds between two runs",
            received=f"{interval} seconds",
            hint="An operator can allow more by the setting min_schedule_interval.",
            where="$.cron",
        )


# Starting an occurrence.


def is_due(snapshot: Snapshot, expected: StoredSchedule, due: DueTimes) -> bool:
    """Return whether the schedule is as it was read, and its time has come in the transaction."""
    stored = snapshot.schedule
    if stored is None or stored != expected or stored.schedule.next_at is None:
        return False
    last = due.run_at if due.run_at is not None else stored.schedule.next_at
    return last <= snapshot.now


def record_start(
    change: ChangeSet, stored: StoredSchedule, due: DueTimes, run: Run, now: int, mint: Mint
) -> ChangeSet:
    """Return the change that creates the run, with the move of its schedule."""
    started = Occurrence(
        id=mint("occ"),
        schedule_id=stored.schedule.id,
        status="started",
        due_at=due.run_at,
        run_id=run.id,
        thread_id=run.thread_id,
        created_at=now,
    )
    schedule = replace(
        stored.schedule,
        next_at=due.next_at,
        last_at=due.run_at,
        last_run_id=run.id,
        failures=0,
    )
    update = ScheduleUpdate(
        replace(stored, schedule=schedule), (*_record_missed(stored, due, now, mint), started)
    )
    return replace(change, schedule_update=update)


def start_by_hand(
    change: ChangeSet, stored: StoredSchedule, run: Run, now: int, mint: Mint
) -> ChangeSet:
    """Return the change that creates a run asked for by hand; the times of the schedule stay."""
    started = Occurrence(
        id=mint("occ"),
        schedule_id=stored.schedule.id,
        status="started",
        run_id=run.id,
        thread_id=run.thread_id,
        created_at=now,
    )
    schedule = replace(stored.schedule, last_run_id=run.id)
    update = ScheduleUpdate(replace(stored, schedule=schedule), (started,))
    return replace(change, schedule_update=update)


def skip(stored: StoredSchedule, due: DueTimes, now: int, mint: Mint) -> ChangeSet:
    """Return the change that records missed times, of which none is to be run."""
    schedule = replace(stored.schedule, next_at=due.next_at)
    update = ScheduleUpdate(
        replace(stored, schedule=schedule), tuple(_record_missed(stored, due, now, mint))
    )
    return ChangeSet(schedule_update=update)


def fail(stored: StoredSchedule, due: DueTimes, fault: Fault, now: int, mint: Mint) -> ChangeSet:
    """Return the change that records an occurrence that cannot be started.

    After `MAX_FAILURES` of them in a row the schedule is paused.
    """
    failed = Occurrence(
        id=mint("occ"),
        schedule_id=stored.schedule.id,
        status="failed",
        due_at=due.run_at,
        error=fault,
        created_at=now,
    )
    failures = stored.schedule.failures + 1
    schedule = replace(stored.schedule, next_at=due.next_at, failures=failures)
    is_paused = failures >= MAX_FAILURES and due.next_at is not None
    if is_paused:
        schedule = pause(schedule, "failing", now)
    update = ScheduleUpdate(
        replace(stored, schedule=schedule), (*_record_missed(stored, due, now, mint), failed)
    )
    entry = _create_entry(stored, "schedule.paused", "failing", now, mint) if is_paused else None
    return ChangeSet(schedule_update=update, audit_entry=entry)


def pause_without_rights(stored: StoredSchedule, now: int, mint: Mint) -> ChangeSet:
    """Return the change that pauses a schedule whose key or owner has no rights any more."""
    schedule = pause(stored.schedule, "unauthorized", now)
    update = ScheduleUpdate(replace(stored, schedule=schedule))
    entry = _create_entry(stored, "schedule.paused", "unauthorized", now, mint)
    return ChangeSet(schedule_update=update, audit_entry=entry)


def _record_missed(
    stored: StoredSchedule, due: DueTimes, now: int, mint: Mint
) -> tuple[Occurrence, ...]:
    if due.missed is None:
        return ()
    first, last = due.missed
    missed = Occurrence(
        id=mint("occ"),
        schedule_id=stored.schedule.id,
        status="missed",
        due_at=first,
        missed_until=last,
        created_at=now,
    )
    return (missed,)


def _create_entry(
    stored: StoredSchedule, what: AuditAction, reason: PauseReason, now: int, mint: Mint
) -> AuditEntry:
    return AuditEntry(
        id=mint("audit"),
        at=now,
        actor=BACKEND,
        what=what,
        target=stored.schedule.id,
        owner=stored.owner,
        details={"reason": reason},
    )


# Pauses.


def pause(schedule: Schedule, reason: PauseReason, now: int) -> Schedule:
    """Return the schedule paused, unless it already is."""
    if schedule.paused:
        return schedule
    return replace(schedule, paused=True, pause_reason=reason, next_at=None, updated_at=now)


def resume(schedule: Schedule, now: int, zone: tzinfo) -> Schedule:
    """Return the schedule resumed; times that passed meanwhile do not count as missed."""
    resumed = replace(schedule, paused=False, pause_reason=None, failures=0, updated_at=now)
    return set_next_time(resumed, now, zone)


def set_next_time(schedule: Schedule, now: int, zone: tzinfo) -> Schedule:
    """Return the schedule with its first time from now on; a paused one has none.

    A time that was started already does not come back, even if the clock is set back.
    """
    if schedule.paused:
        return replace(schedule, next_at=None)
    after = max(now, schedule.last_at or 0)
    return replace(schedule, next_at=find_next_time(schedule, after, zone))


def title_of(schedule: Schedule, at: int, zone: tzinfo) -> str:
    """Return the title of the thread of an occurrence; "" if the schedule has no name either."""
    title = schedule.title or schedule.name
    if not title:
        return ""
    return f"{title[:480]} {datetime.fromtimestamp(at / 1000, zone):%Y-%m-%d %H:%M}"


def describe_occurrence(schedule: Schedule, at: int | None) -> dict[str, str]:
    """Return the metadata of the run of an occurrence, by which it is found again."""
    described = {"schedule_id": schedule.id}
    if at is not None:
        moment = datetime.fromtimestamp(at / 1000, UTC)
        described["scheduled_for"] = moment.isoformat().replace("+00:00", "Z")
    return described
