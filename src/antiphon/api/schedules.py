"""Operations on schedules, which start runs of the caller at set times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.fields import MaxCost, MaxTokens, Time, Title
from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.runs import DAY, Globs, Run
from antiphon.types.schedules import (
    MAX_MISSED,
    MAX_TOTAL_TOKENS,
    TIMEOUT,
    MissedPolicy,
    Occurrence,
    Schedule,
)

CronText = Annotated[str, Meta(min_length=1, max_length=256)]
ZoneName = Annotated[str, Meta(min_length=1, max_length=64)]
Prompt = Annotated[str, Meta(min_length=1, max_length=100_000)]
MaxMissed = Annotated[int, Meta(ge=1, le=100)]
RunSeconds = Annotated[int, Meta(ge=1, le=7 * DAY)]


class CreateSchedule(Operation[Schedule], frozen=True):
    """Create a schedule: a message that is sent to an assistant at the times of `cron`, or once.

    `cron` has the five fields of crontab, or is `@daily` and the like; `run_at` is one time in
    milliseconds since 1970. Each occurrence adds `message` to the thread `thread_id`, or to a new
    thread with this `title`, and starts a run in the background. Any server starts it, once.

    The run is offered only the tools that match `allowed_tools`, none by default, and ends after
    `max_total_tokens`, `max_cost` or `timeout` seconds. It has the limits of the key that made or
    last changed the schedule, and is not started once that key does not work. `missed` decides
    about occurrences that could not be started in time, as when no server ran: `skip` them,
    `run_once` for all, or `run_all` of the last `max_missed`.
    """

    route: ClassVar[str] = "POST /v1/schedules"
    answer: ClassVar[Any] = Schedule
    http_status: ClassVar[int] = 201

    message: Prompt
    cron: CronText | None = None
    run_at: Time | None = None
    timezone: ZoneName = "UTC"
    name: Title = ""
    assistant_id: Id | None = None
    model: Name | None = None
    thread_id: Id | None = None
    title: Title = ""
    allowed_tools: Globs = ()
    max_total_tokens: MaxTokens = MAX_TOTAL_TOKENS
    max_cost: MaxCost | None = None
    timeout: RunSeconds = TIMEOUT
    missed: MissedPolicy = "run_once"
    max_missed: MaxMissed = MAX_MISSED
    paused: bool = False


class ListSchedules(Operation[Listed[Schedule]], frozen=True):
    """List the caller's schedules, oldest first."""

    route: ClassVar[str] = "GET /v1/schedules"
    answer: ClassVar[Any] = Listed[Schedule]


class OwnedSchedule(msgspec.Struct, frozen=True):
    """A schedule, and its owner."""

    owner: str
    schedule: Schedule


class ListAllSchedules(Operation[Listed[OwnedSchedule]], frozen=True):
    """List the schedules of all owners, oldest first."""

    route: ClassVar[str] = "GET /v1/all_schedules"
    answer: ClassVar[Any] = Listed[OwnedSchedule]
    scope: ClassVar[str | None] = "admin"


class GetSchedule(Operation[Schedule], frozen=True):
    """Get one schedule."""

    route: ClassVar[str] = "GET /v1/schedules/{schedule_id}"
    answer: ClassVar[Any] = Schedule

    schedule_id: Id


class UpdateSchedule(Operation[Schedule], frozen=True):
    """Change the given fields of a schedule; the others stay.

    With `cron` it has no `run_at` any more, and the other way round. With `paused` of false it is
    resumed: times that passed meanwhile do not count as missed. From now on the schedule has the
    limits of the key that changes it.
    """

    route: ClassVar[str] = "PATCH /v1/schedules/{schedule_id}"
    answer: ClassVar[Any] = Schedule

    schedule_id: Id
    message: Prompt | msgspec.UnsetType = msgspec.UNSET
    cron: CronText | msgspec.UnsetType = msgspec.UNSET
    run_at: Time | msgspec.UnsetType = msgspec.UNSET
    timezone: ZoneName | msgspec.UnsetType = msgspec.UNSET
    name: Title | msgspec.UnsetType = msgspec.UNSET
    assistant_id: Id | msgspec.UnsetType | None = msgspec.UNSET
    model: Name | msgspec.UnsetType | None = msgspec.UNSET
    thread_id: Id | msgspec.UnsetType | None = msgspec.UNSET
    title: Title | msgspec.UnsetType = msgspec.UNSET
    allowed_tools: Globs | msgspec.UnsetType = msgspec.UNSET
    max_total_tokens: MaxTokens | msgspec.UnsetType = msgspec.UNSET
    max_cost: MaxCost | msgspec.UnsetType | None = msgspec.UNSET
    timeout: RunSeconds | msgspec.UnsetType = msgspec.UNSET
    missed: MissedPolicy | msgspec.UnsetType = msgspec.UNSET
    max_missed: MaxMissed | msgspec.UnsetType = msgspec.UNSET
    paused: bool | msgspec.UnsetType = msgspec.UNSET


class DeleteSchedule(Operation[Deleted], frozen=True):
    """Delete a schedule with its history; its runs and threads stay."""

    route: ClassVar[str] = "DELETE /v1/schedules/{schedule_id}"
    answer: ClassVar[Any] = Deleted

    schedule_id: Id


class RunSchedule(Operation[Run], frozen=True):
    """Start a run of the schedule now, also of a paused one; its times stay as they are.

    Raises `RunActive` if its thread has an active run.
    """

    route: ClassVar[str] = "POST /v1/schedules/{schedule_id}/run"
    answer: ClassVar[Any] = Run
    http_status: ClassVar[int] = 202
    creates: ClassVar[bool] = True

    schedule_id: Id


class ListOccurrences(Operation[Listed[Occurrence]], frozen=True):
    """List what became of the times of a schedule, newest first.

    The history goes back for as long as events of runs are kept, and for 90 days at least.
    """

    route: ClassVar[str] = "GET /v1/schedules/{schedule_id}/occurrences"
    answer: ClassVar[Any] = Listed[Occurrence]

    schedule_id: Id
    limit: Limit = 20
    after: Id | None = None


class ScheduledTime(msgspec.Struct, frozen=True):
    """A time of a schedule: in ms since 1970, and as it is in its time zone."""

    at: int
    local: str


class ScheduledTimes(msgspec.Struct, frozen=True):
    """The next times of a cron expression."""

    data: Sequence[ScheduledTime]


class PreviewSchedule(Operation[ScheduledTimes], frozen=True):
    """List the next `count` times of a cron expression, to look at before it is used.

    Raises `InvalidRequest` where no schedule can have it.
    """

    route: ClassVar[str] = "GET /v1/schedule_times"
    answer: ClassVar[Any] = ScheduledTimes

    cron: CronText
    timezone: ZoneName = "UTC"
    count: Annotated[int, Meta(ge=1, le=50)] = 5
