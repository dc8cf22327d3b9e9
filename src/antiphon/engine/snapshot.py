"""The values of a transaction on a run: what it reads, decides and writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.types.accounts import AuditEntry
from antiphon.types.errors import EventExpired, NotFound
from antiphon.types.events import Event, Numbered
from antiphon.types.messages import Message
from antiphon.types.personal import NOTHING_PERSONAL, PersonalRecord
from antiphon.types.runs import Action, Run, RunLease, Thread, Usage
from antiphon.types.schedules import Occurrence, StoredSchedule
from antiphon.types.webhooks import WebhookEvent


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An idempotency key of one owner and route; `digest` is the digest of the request's body."""

    owner: str
    route: str
    key: str
    digest: bytes


class ReadSet(msgspec.Struct, frozen=True, kw_only=True):
    """The records that a transaction reads before it decides.

    `run_id` reads that run and its thread; `thread_id` alone reads the thread and its active run.
    With both, the run is read only if it belongs to the thread. `owner` is None for the runtime's
    own work. `tool_call_id` also reads that call's action, of whichever turn; `turn_log` reads the
    events of the turn. `key_id` locks the key, so that of two changes the second counts what the
    first started, and fills `Snapshot.running` and `tokens`. `schedule_id` reads that schedule,
    which a `ScheduleUpdate` then changes: of two changes the second is decided again. `personal`
    reads the owner's personal instructions and memories. `what` names the change in failpoints.
    """

    owner: str | None
    thread_id: str | None = None
    run_id: str | None = None
    tool_call_id: str | None = None
    idempotency_key: IdempotencyKey | None = None
    turn_log: bool = False
    key_id: str | None = None
    schedule_id: str | None = None
    personal: bool = False
    what: str = "change"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that the store read inside the transaction; rows of other owners are None.

    `now` is the store's clock, in ms since 1970. `running` is the number of unfinished runs that
    the key `ReadSet.key_id` began, `tokens` the number of tokens that they used today.
    """

    now: int
    thread: Thread | None = None
    run: Run | None = None
    lease: RunLease | None = None
    actions: tuple[Action, ...] = ()
    """The actions of the run's last turn with tool calls, in call order.

    Before them comes the action of an earlier turn that `ReadSet.tool_call_id` names.
    """
    log: tuple[Numbered, ...] = ()
    """The events after `lease.turn_began_after`, if `ReadSet.turn_log` asked for them."""
    running: int = 0
    tokens: int = 0
    schedule: StoredSchedule | None = None
    """The schedule that `ReadSet.schedule_id` names."""
    personal: PersonalRecord = NOTHING_PERSONAL
    """The owner's, if `ReadSet.personal` asked for it."""

    def require_run(self) -> tuple[Run, RunLease]:
        """Return the run and its lease. Raises `NotFound`."""
        if self.run is None or self.lease is None:
            raise NotFound("There is no such run.")
        return self.run, self.lease


class RunUpdate(msgspec.Struct, frozen=True):
    """A run after the change, and the new events, numbered up to `lease.last_event`.

    `webhook_events` become deliveries to the webhooks of the run's owner.
    """

    run: Run
    lease: RunLease
    events: tuple[Event, ...] = ()
    webhook_events: tuple[WebhookEvent, ...] = ()


class ScheduleUpdate(msgspec.Struct, frozen=True):
    """A schedule after the change, and what became of its times, to be added to its history."""

    stored: StoredSchedule
    occurrences: tuple[Occurrence, ...] = ()


class RequestUsage(msgspec.Struct, frozen=True):
    """Usage of a request to a model outside runs; `key_id` is the key for which it counts.

    `audio_seconds` are what the provider counted instead of tokens.
    """

    model: str
    usage: Usage
    key_id: str | None = None
    audio_seconds: float = 0.0


class ChangeSet(msgspec.Struct, frozen=True, kw_only=True):
    """The writes of a transaction: whole rows, new or replaced.

    `owner` is needed where a thread or a run is new. `answer` is the result for the caller, stored
    under the idempotency key. `keep_messages` first cuts the thread after that message number.
    `request_usage` is counted for the owner. `audit_entry` goes to the audit log.
    `schedule_update` is of the schedule that was read.

    With `more` it is one part of a large change, small enough not to block other users of the
    store. The caller decides again in another transaction until nothing is left. Such an answer is
    not stored under the idempotency key.
    """

    answer: Any = None
    owner: str | None = None
    thread: Thread | None = None
    keep_messages: int | None = None
    messages: tuple[Message, ...] = ()
    run_updates: tuple[RunUpdate, ...] = ()
    actions: tuple[Action, ...] = ()
    request_usage: RequestUsage | None = None
    audit_entry: AuditEntry | None = None
    schedule_update: ScheduleUpdate | None = None
    more: bool = False


Decide = Callable[[Snapshot], ChangeSet | None]
"""Pure function from records to a change; None changes nothing, an exception rolls back."""


class Committed(msgspec.Struct, frozen=True):
    """The outcome of a change: its answer, and the change that was written.

    `change` is None where nothing was written: nothing was decided, or the answer is a stored one.
    """

    answer: Any = None
    change: ChangeSet | None = None


class Claim(msgspec.Struct, frozen=True):
    """A run that this worker holds under a lease, fenced by `lease.epoch`.

    `change` is the change that claimed it.
    """

    owner: str
    run: Run
    lease: RunLease
    change: ChangeSet | None = None


def event_expired_error(run_id: str, kept_after: int, after: int) -> EventExpired:
    """Return the error for a reader at event `after` when later events are past retention."""
    return EventExpired(
        f"The events of run {run_id} up to {kept_after} are past retention.",
        expected=f"{kept_after} or more",
        received=str(after),
        hint="GET /v1/messages?thread_id= lists the messages.",
        run_id=run_id,
    )
