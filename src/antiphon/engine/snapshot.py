"""What a run's transaction reads and writes, as values: the ground that `moves` stands on."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.types.accounts import Act
from antiphon.types.errors import EventExpired
from antiphon.types.events import Event, Numbered
from antiphon.types.messages import Message
from antiphon.types.runs import Action, Drive, Run, Thread


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knew inside the transaction; another owner's things are None.

    `now` is the store's clock, ms since 1970. `actions` are those of the run's last turn that
    handed out calls, in call order, and before them the one that `About.tool_call_id` asked for,
    where that is of an earlier turn. `log` holds the events after `drive.turn_began_after`, where
    `About.turn_log` asked for them. `running` is how many runs begun with the key of `About.key_id`
    have not ended, `tokens` how many these have used today.
    """

    now: int
    thread: Thread | None = None
    run: Run | None = None
    drive: Drive | None = None
    actions: tuple[Action, ...] = ()
    log: tuple[Numbered, ...] = ()
    running: int = 0
    tokens: int = 0


class Driven(msgspec.Struct, frozen=True):
    """A run as it shall be, and the events that say so, numbered up to `drive.last_event`."""

    run: Run
    drive: Drive
    events: tuple[Event, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction writes. Everything is whole: new rows, or rows as they shall be.

    `owner` is needed where a thread or a run is new. `answer` is what the caller is told, kept
    under the idempotency key. `keep_messages` cuts the thread after that message number first.
    `act` is what the audit log keeps of it.

    With `more` it is a part of what was decided, small enough that others are not kept from the
    store: its caller decides again, in a transaction of its own, until nothing is left. Its answer
    is not kept under the idempotency key.
    """

    answer: Any = None
    owner: str | None = None
    thread: Thread | None = None
    keep_messages: int | None = None
    messages: tuple[Message, ...] = ()
    driven: tuple[Driven, ...] = ()
    actions: tuple[Action, ...] = ()
    act: Act | None = None
    more: bool = False


def events_expired(run_id: str, kept_after: int, after: int) -> EventExpired:
    """The error for a reader that stopped at event `after`: what follows is partly forgotten."""
    return EventExpired(
        f"The events of run {run_id} up to {kept_after} are past retention.",
        expected=f"{kept_after} or more",
        received=str(after),
        hint="GET /v1/messages?thread_id= has what was said.",
        run_id=run_id,
    )
