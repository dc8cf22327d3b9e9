"""Decisions about schedules: what is due, what was missed, and what follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from antiphon.engine import schedules
from antiphon.engine.schedules import DueTimes, find_due_times
from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.types.errors import InvalidRequest
from antiphon.types.runs import Fault, Run
from antiphon.types.schedules import Schedule, StoredSchedule

MINUTE = 60_000
NOON = int(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp() * 1000)


def a_schedule(**fields: Any) -> Schedule:
    """Return a schedule of every ten minutes, whose next time is noon."""
    defaults: dict[str, Any] = {"cron": "*/10 * * * *", "next_at": NOON, "message": "Report."}
    return Schedule(**{"id": "sched_1", "created_at": 1, "updated_at": 1, **defaults, **fields})


@pytest.fixture
def mint() -> Callable[[str], str]:
    counter = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(counter)}"


def find_due(now: int, **fields: Any) -> DueTimes | None:
    return find_due_times(a_schedule(**fields), now, UTC)


def test_nothing_is_due_before_its_time_or_while_it_is_paused() -> None:
    assert find_due(NOON - 1) is None
    assert find_due(NOON + 1, next_at=None) is None
    assert find_due(NOON + 1, paused=True) is None


@pytest.mark.parametrize("missed", ["skip", "run_once", "run_all"])
def test_a_time_that_has_come_is_run_whatever_the_policy(missed: str) -> None:
    assert find_due(NOON, missed=missed) == DueTimes(NOON, None, NOON + 10 * MINUTE)
    assert find_due(NOON + 9 * MINUTE, missed=missed) == DueTimes(NOON, None, NOON + 10 * MINUTE)


def test_run_once_runs_the_last_of_the_missed_times() -> None:
    assert find_due(NOON + 35 * MINUTE) == DueTimes(
        NOON + 30 * MINUTE, (NOON, NOON + 20 * MINUTE), NOON + 40 * MINUTE
    )


def test_run_once_runs_a_time_however_late() -> None:
    assert find_due(NOON + 500 * MINUTE, cron="0 12 24 11 *") == DueTimes(
        NOON, None, NOON + 365 * 1440 * MINUTE
    )


def test_skip_runs_what_is_on_time_alone() -> None:
    fields = {"missed": "skip", "cron": "0 * * * *"}

    assert find_due(NOON + 9 * MINUTE, **fields) == DueTimes(NOON, None, NOON + 60 * MINUTE)
    assert find_due(NOON + 11 * MINUTE, **fields) == DueTimes(
        None, (NOON, NOON), NOON + 60 * MINUTE
    )
    assert find_due(NOON + 125 * MINUTE, **fields) == DueTimes(
        NOON + 120 * MINUTE, (NOON, NOON + 60 * MINUTE), NOON + 180 * MINUTE
    )
    assert find_due(NOON + 140 * MINUTE, **fields) == DueTimes(
        None, (NOON, NOON + 120 * MINUTE), NOON + 180 * MINUTE
    )


def test_run_all_runs_the_last_few_one_after_the_other() -> None:
    schedule = a_schedule(missed="run_all", max_missed=2)
    now = NOON + 35 * MINUTE

    first = find_due_times(schedule, now, UTC)
    assert first == DueTimes(NOON + 20 * MINUTE, (NOON, NOON + 10 * MINUTE), NOON + 30 * MINUTE)
    second = find_due_times(replace(schedule, next_at=first.next_at), now, UTC)
    assert second == DueTimes(NOON + 30 * MINUTE, None, NOON + 40 * MINUTE)
    assert find_due_times(replace(schedule, next_at=second.next_at), now, UTC) is None


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("run_once", DueTimes(NOON, None, None)),
        ("run_all", DueTimes(NOON, None, None)),
        ("skip", DueTimes(None, (NOON, NOON), None)),
    ],
)
def test_a_single_time_that_was_missed_follows_the_policy(missed: str, expected: DueTimes) -> None:
    assert find_due(NOON + 60 * MINUTE, cron=None, run_at=NOON, missed=missed) == expected


def test_a_year_of_missed_times_is_looked_at_from_its_end() -> None:
    due_times = find_due(
        NOON + 366 * 1440 * MINUTE, cron="* * * * *", missed="run_all", max_missed=3
    )

    assert due_times is not None
    assert due_times.run_at == NOON + (366 * 1440 - 2) * MINUTE
    assert due_times.missed == (NOON, NOON + (366 * 1440 - 3) * MINUTE)


def test_a_schedule_that_has_changed_or_moved_on_is_not_due_in_the_transaction() -> None:
    stored = StoredSchedule("ann", a_schedule())
    due_times = find_due_times(stored.schedule, NOON, UTC)
    assert due_times is not None
    moved_on = replace(stored, schedule=replace(stored.schedule, next_at=due_times.next_at))

    assert schedules.is_due(Snapshot(now=NOON, schedule=stored), stored, due_times)
    assert not schedules.is_due(Snapshot(now=NOON - 1, schedule=stored), stored, due_times)
    assert not schedules.is_due(Snapshot(now=NOON, schedule=moved_on), stored, due_times)
    assert not schedules.is_due(Snapshot(now=NOON), stored, due_times)


def test_a_start_is_recorded_with_what_was_missed_before_it(
    mint: Callable[[str], str],
) -> None:
    stored = StoredSchedule("ann", a_schedule(failures=3))
    run = Run(id="run_1", thread_id="thread_1", model="demo", created_at=1)
    due_times = DueTimes(NOON + 10 * MINUTE, (NOON, NOON), NOON + 20 * MINUTE)
    change = schedules.record_start(ChangeSet(answer=run), stored, due_times, run, NOON, mint)

    assert change.answer == run
    assert change.schedule_update is not None
    after = change.schedule_update.stored.schedule
    assert (after.next_at, after.last_at, after.last_run_id, after.failures) == (
        NOON + 20 * MINUTE,
        NOON + 10 * MINUTE,
        "run_1",
        0,
    )
    missed_occurrence, started_occurrence = change.schedule_update.occurrences
    assert (missed_occurrence.status, missed_occurrence.due_at, missed_occurrence.missed_until) == (
        "missed",
        NOON,
        NOON,
    )
    assert (started_occurrence.status, started_occurrence.due_at, started_occurrence.run_id) == (
        "started",
        NOON + 10 * MINUTE,
        "run_1",
    )


def test_failures_in_a_row_pause_a_schedule_and_are_audited(mint: Callable[[str], str]) -> None:
    stored = StoredSchedule("ann", a_schedule())
    fault = Fault("not_found", "There is no thread.")
    for number in range(1, schedules.MAX_FAILURES + 1):
        assert not stored.schedule.paused
        due_times = find_due_times(stored.schedule, stored.schedule.next_at or 0, UTC)
        assert due_times is not None
        change = schedules.fail(stored, due_times, fault, NOON, mint)
        assert change.schedule_update is not None
        stored = change.schedule_update.stored
        assert stored.schedule.failures == number
        assert change.schedule_update.occurrences[-1].error == fault

    assert (stored.schedule.paused, stored.schedule.pause_reason) == (True, "failing")
    assert stored.schedule.next_at is None
    assert change.audit_entry is not None
    assert (change.audit_entry.actor, change.audit_entry.owner) == ("backend", "ann")

    resumed_schedule = schedules.resume(stored.schedule, NOON + 99 * MINUTE, UTC)
    assert (resumed_schedule.failures, resumed_schedule.next_at) == (0, NOON + 100 * MINUTE)


def test_times_that_pass_during_a_pause_do_not_count_as_missed() -> None:
    paused_schedule = schedules.pause(a_schedule(), "owner", NOON)
    resumed_schedule = schedules.resume(paused_schedule, NOON + 55 * MINUTE, UTC)

    assert (paused_schedule.next_at, paused_schedule.pause_reason) == (None, "owner")
    assert resumed_schedule.next_at == NOON + 60 * MINUTE


def test_a_clock_that_is_behind_does_not_bring_a_started_time_back() -> None:
    schedule = schedules.pause(a_schedule(last_at=NOON), "owner", NOON)

    assert schedules.resume(schedule, NOON - 5 * MINUTE, UTC).next_at == NOON + 10 * MINUTE


@pytest.mark.parametrize(
    ("cron", "run_at", "message"),
    [
        (None, None, "a cron expression or one time"),
        ("@daily", NOON + 1, "a cron expression or one time"),
        (None, NOON, "in the future"),
        (None, NOON + 11 * 366 * 1440 * MINUTE, "in the future"),
        ("0 0 30 2 *", None, "names no time"),
        ("* * * * *", None, "too often"),
        ("nonsense", None, "five fields"),
    ],
)
def test_times_that_cannot_be_kept_are_refused(
    cron: str | None, run_at: int | None, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        schedules.validate_times(cron, run_at, NOON, UTC, 300)


def test_the_limit_of_too_many_runs_is_named() -> None:
    with pytest.raises(InvalidRequest) as excinfo:
        schedules.validate_times("*/2 * * * *", None, NOON, UTC, 300)

    assert excinfo.value.details["expected"] == "at least 300 seconds between two runs"
    assert excinfo.value.details["received"] == "120 seconds"
    schedules.validate_times("*/5 * * * *", None, NOON, UTC, 300)


def test_the_thread_of_an_occurrence_is_titled_by_its_local_time() -> None:
    schedule = a_schedule(name="Morning report")

    assert schedules.title_of(schedule, NOON, ZoneInfo("Europe/Berlin")) == (
        "Morning report 2026-11-24 13:00"
    )
    assert schedules.title_of(a_schedule(), NOON, UTC) == ""
    assert schedules.describe_occurrence(schedule, NOON) == {
        "schedule_id": "sched_1",
        "scheduled_for": "2026-11-24T12:00:00Z",
    }
