"""Schedules, which start runs at set times, and the occurrences of a schedule."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.types.runs import Fault, Glob, Status

MissedPolicy = Literal["skip", "run_once", "run_all"]
"""Policy for occurrences that no program could start in time: no run, one run for all of them, or a
run for each of the last `max_missed`."""

PauseReason = Literal["owner", "failing", "unauthorized"]
"""Reason of a schedule's being paused: its owner did it, several occurrences in a row could not be
started, or the API key that it was made with, or its owner's account, does not work any more."""

OccurrenceStatus = Literal["started", "missed", "failed"]

TIMEOUT = 3600
MAX_TOTAL_TOKENS = 200_000
MAX_MISSED = 5


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is sent to an assistant at set times. Times in ms.

    The times are those of `cron` in the `timezone`, or the one time `run_at`. Each occurrence adds
    the message to the thread `thread_id`, or to a new thread with this `title`, and starts a run.
    The run is offered only the tools that match `allowed_tools`, and has the limits
    `max_total_tokens`, `max_cost` and `timeout` of a `Run`. `next_at` is the next occurrence; None
    for a paused schedule, and for one that has no further occurrence. `last_at` is the occurrence
    that was started last, and `last_run_id` the last run. `failures` counts the occurrences in a
    row that could not be started. `waiting_for` is the provider that a program must be able to ask
    to start it; None if the program that was asked can.
    """

    id: str
    name: str = ""
    cron: str | None = None
    run_at: int | None = None
    timezone: str = "UTC"
    message: str
    assistant_id: str | None = None
    model: str | None = None
    thread_id: str | None = None
    title: str = ""
    allowed_tools: tuple[Glob, ...] = ()
    max_total_tokens: int = MAX_TOTAL_TOKENS
    max_cost: float | None = None
    timeout: int = TIMEOUT
    missed: MissedPolicy = "run_once"
    max_missed: int = MAX_MISSED
    paused: bool = False
    pause_reason: PauseReason | None = None
    next_at: int | None = None
    last_at: int | None = None
    last_run_id: str | None = None
    failures: int = 0
    waiting_for: str | None = None
    created_at: int
    updated_at: int


class StoredSchedule(msgspec.Struct, frozen=True):
    """A schedule with its owner, the key whose rights it has, and the destination of its runs.

    `key_id` is None where it was made without a key. `destination` is as in `RunLease`.
    """

    owner: str
    schedule: Schedule
    key_id: str | None = None
    destination: str = ""


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One time of a schedule, and what became of it. Times in ms.

    `due_at` is the time that was set; None for one that was started by hand. One that was `missed`
    stands for all from `due_at` to `missed_until`. `run_status` is that of the run now, if the run
    still exists. `error` says why it could not be started.
    """

    id: str
    schedule_id: str
    status: OccurrenceStatus
    due_at: int | None = None
    missed_until: int | None = None
    run_id: str | None = None
    thread_id: str | None = None
    run_status: Status | None = None
    error: Fault | None = None
    created_at: int
