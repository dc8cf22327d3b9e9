"""Decisions on a thread without an active run: pure functions, as `transitions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.engine.unit_of_work import UnitOfWork
from antiphon.types import errors
from antiphon.types.errors import NotFound
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, parts
from antiphon.types.runs import Thread


def new_thread(mint: Mint, now: int, **fields: Any) -> Thread:
    """Return a thread without messages, with these fields."""
    return Thread(id=mint("thread"), created_at=now, updated_at=now, **fields)


def begin_thread(
    thread: Thread, messages: Sequence[operations.PastMessage], mint: Mint, now: int
) -> ChangeSet:
    """Create a thread with messages of a conversation that took place elsewhere."""
    unit = UnitOfWork(Snapshot(now=now, thread=thread), mint)
    for message in messages:
        unit.add_past_message(message)
    return replace(unit.build(), answer=unit.thread, thread=unit.thread)


def add_message(snapshot: Snapshot, operation: operations.CreateMessage, mint: Mint) -> ChangeSet:
    """Add a user or system message to a thread without an active run. Raises `RunActive`."""
    unit = UnitOfWork(snapshot, mint)
    unit.require_no_active_run()
    role: Literal["user", "system"] = "system" if operation.role == "system" else "user"
    message = unit.add_message(
        role, parts(operation.content), operation.metadata, operation.compacts
    )
    return unit.build(message)


def append_messages(
    snapshot: Snapshot, operation: operations.AppendMessages, mint: Mint, keep: int | None
) -> ChangeSet:
    """Add past messages to a thread without an active run; the answer is their list.

    With `keep`, the messages after that number are deleted first. Raises `RunActive`, `Conflict`
    and `NotFound`.
    """
    unit = UnitOfWork(snapshot, mint)
    unit.require_no_active_run()
    if operation.if_version not in (None, unit.thread.version):
        raise errors.Conflict(
            f"Thread {unit.thread.id} has changed.",
            expected=f"version {operation.if_version}",
            received=f"version {unit.thread.version}",
            hint="Read it again.",
        )
    if keep is not None:
        if keep >= unit.thread.messages:
            raise NotFound(f"Thread {unit.thread.id} has no message {keep + 1}.")
        unit.roll_back(keep)
    added = tuple(map(unit.add_past_message, operation.messages))
    return unit.build(operations.Listed(added, has_more=False))


def change_tags(
    tags: Sequence[str], given: Iterable[str], *, remove: bool = False
) -> tuple[str, ...]:
    """Return these tags with the given ones, or without them; case does not count."""
    changed = {tag.strip().casefold(): tag.strip() for tag in given}
    if remove:
        return tuple(tag for tag in tags if tag.casefold() not in changed)
    return tuple(({tag.casefold(): tag for tag in tags} | changed).values())


def fork(
    messages: Sequence[Message], thread: Thread, mint: Mint, now: int
) -> tuple[Thread, tuple[Message, ...]]:
    """Return the new thread and copies of these messages.

    The copies end before the first call whose outputs are not all there.
    """
    kept = list(messages)
    waiting: dict[str, int] = {}
    for place, message in enumerate(messages):
        waiting |= {call.id: place for call in message.tool_calls}
        waiting.pop(message.tool_call_id or "", None)
    if waiting:
        kept = kept[: min(waiting.values())]
    copies = tuple(
        replace(
            message,
            id=mint("msg"),
            thread_id=thread.id,
            number=number,
            parent_id=message.id,
            run_id=None,
            created_at=now,
        )
        for number, message in enumerate(kept, 1)
    )
    return replace(thread, messages=len(copies), version=1 if copies else 0), copies
