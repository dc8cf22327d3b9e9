"""Checks that every store makes before it writes a change, and helpers that all stores share."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.engine.snapshot import (
    ChangeSet,
    IdempotencyKey,
    ReadSet,
    RunUpdate,
    Snapshot,
    event_expired_error,
)
from antiphon.types.errors import (
    Conflict,
    Fenced,
    IdempotencyConflict,
    Internal,
    NotFound,
    RunActive,
)
from antiphon.types.folders import MAX_FOLDERS
from antiphon.types.imports import ImportedRun
from antiphon.types.messages import Message
from antiphon.types.runs import TRANSITIONS, Run, RunLease, Status, Thread
from antiphon.types.schedules import StoredSchedule


def check_run_update(before: tuple[Run, RunLease] | None, after: RunUpdate) -> None:
    """Raise if the run's update is not allowed.

    Of a run that has ended, only the records of its responses change. Raises `Fenced` if the run
    has ended or has a higher epoch. Raises `Internal` for a transition that is not in the table, or
    for events that would leave a gap.
    """
    run, lease = after.run, after.lease
    last = 0
    if before is None:
        claimed = run.status is Status.IN_PROGRESS and lease.worker is not None and lease.epoch > 0
        if not claimed and run.status is not Status.QUEUED:
            raise Internal(
                f"A new run is queued or held by a worker, but {run.id} would be {run.status}."
            )
    else:
        was, lease_before = before
        last = lease_before.last_event
        if was.status.ended and _changes_records(before, after):
            return
        if was.status.ended or lease.epoch < lease_before.epoch:
            raise Fenced(
                f"Run {run.id} is {was.status} in epoch {lease_before.epoch}; "
                f"it cannot become {run.status} in epoch {lease.epoch}."
            )
        if run.status is not was.status and run.status not in TRANSITIONS[was.status]:
            raise Internal(f"Run {run.id} cannot go from {was.status} to {run.status}.")
    if lease.last_event != last + len(after.events):
        raise Internal(
            f"Run {run.id} had {last} events and gets {len(after.events)}, "
            f"but would count {lease.last_event}."
        )


def _changes_records(before: tuple[Run, RunLease], after: RunUpdate) -> bool:
    """Return whether the records of a run's responses change, and nothing else."""
    run, lease = before
    changed = after.run.responses != run.responses
    is_same = replace(after.run, responses=run.responses) == run and after.lease == lease
    return changed and is_same and not after.events


def check_thread_change(before: Thread | None, change: ChangeSet) -> None:
    """Raise `Internal` unless a change of messages raises the thread's version and counts them.

    Cached contexts are valid for a version, so a change without a new version would leave a stale
    context in use. The count may exceed the messages: numbers are reserved for tool outputs.
    """
    touched = bool(change.messages) or change.keep_messages is not None
    thread = change.thread
    if thread is None:
        if touched:
            raise Internal("A change of messages must hold the new thread.")
        return
    if before and touched and thread.version <= before.version:
        raise Internal(f"Thread {thread.id} changed, but its version stayed {before.version}.")
    if before and change.keep_messages is None and thread.messages < before.messages:
        raise Internal(f"Thread {thread.id} would lose count of its messages.")
    for message in change.messages:
        if message.thread_id != thread.id or not 1 <= message.number <= thread.messages:
            raise Internal(
                f"Message {message.number} of {message.thread_id} is none of {thread.id}."
            )


def check_schedule_update(before: StoredSchedule | None, change: ChangeSet) -> None:
    """Raise `Internal` unless a change of a schedule is of the one that it read."""
    update = change.schedule_update
    if update is None:
        return
    after = update.stored
    if before is None or (before.owner, before.schedule.id) != (after.owner, after.schedule.id):
        raise Internal(f"Schedule {after.schedule.id} changes, and was not read.")


def require_owner(read_set: ReadSet, change: ChangeSet) -> str:
    """Return the owner of the new records of a change. Raises `Internal` if it has none."""
    owner = change.owner if change.owner is not None else read_set.owner
    if owner is None:
        raise Internal("A new thread or run needs an owner.")
    return owner


def answer_subject(records: Snapshot, change: ChangeSet) -> str | None:
    """Return the thread that the stored answer is about: the answer is deleted with it."""
    if change.thread is not None:
        return change.thread.id
    if change.run_updates:
        return change.run_updates[0].run.thread_id
    return records.thread.id if records.thread else None


def second_run_error(thread_id: str, run_id: str) -> RunActive:
    """Return the error for a second active run in a thread."""
    return RunActive(
        f"Thread {thread_id} is busy with run {run_id}.",
        expected="a thread without an active run",
        received=f"{run_id}, which has not ended",
        hint="Finish or cancel that run first.",
        run_id=run_id,
    )


def append_fenced_error(run_id: str, epoch: int, first: int) -> Fenced:
    """Return the error for an append with an old epoch or a wrong number."""
    return Fenced(f"Run {run_id} takes no event {first} from a driver of epoch {epoch}.")


def check_not_expired(run_id: str, after: int, kept_after: int) -> None:
    """Raise `EventExpired` if events above `after` were deleted by retention."""
    if after < kept_after:
        raise event_expired_error(run_id, kept_after, after)


def replay_answer(once: IdempotencyKey, digest: bytes, answer: bytes | None) -> msgspec.Raw:
    """Return the answer stored under this key.

    Raises `IdempotencyConflict` if the body was a different one, `NotFound` if the object of the
    answer was deleted since.
    """
    if digest != once.digest:
        raise IdempotencyConflict(
            f"The idempotency key {once.key!r} was used before, with another body.",
            expected="the body that came first under this key",
            received="a different body",
            hint="Use a new key for a new request.",
        )
    if answer is None:
        raise NotFound(
            f"What was made under the idempotency key {once.key!r} has been deleted.",
            hint="Use a new key to make it again.",
        )
    return msgspec.Raw(answer)


def not_found(kind: type[Any], id: str) -> NotFound:
    """Return the error for a record that does not exist or belongs to another owner."""
    return NotFound(f"There is no {_kind_name(kind)} {id!r}.")


def duplicate_id(kind: type[Any], id: str) -> Internal:
    """Return the error for a second record with one id."""
    return Internal(f"There is a {_kind_name(kind)} {id!r} already.")


def check_folder_count(count: int) -> None:
    """Raise `Conflict` if an owner with so many folders cannot have one more."""
    if count >= MAX_FOLDERS:
        raise Conflict(
            "This owner has as many folders as an owner may have.",
            expected=f"at most {MAX_FOLDERS}",
            received="one more",
            hint="Delete one first.",
        )


def _kind_name(kind: type[Any]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def import_conflict(what: str) -> Conflict:
    """Return the error for an id that was free when the import checked and is taken now."""
    return Conflict(
        f"Something else has taken the place of the {what} meanwhile.",
        expected="an import that is alone at work on these ids",
        hint="Run the same import again: it continues, or reports what prevents it.",
    )


def lease_of_imported(imported: ImportedRun) -> RunLease:
    """Return the lease of an imported run: no worker holds it, nothing is due."""
    return RunLease(
        last_event=imported.last_event,
        turn_began_after=imported.last_event,
        kept_after=imported.kept_after,
    )


def duplicate_message(message: Message) -> Internal:
    """Return the error for a second message with one number."""
    return Internal(f"Thread {message.thread_id} has a message {message.number} already.")


# Clock of stores whose database has none.

Clock = Callable[[], int]
"""Milliseconds since 1970."""


def system_clock() -> int:
    """Return this machine's time."""
    return time.time_ns() // 1_000_000
