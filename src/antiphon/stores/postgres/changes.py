"""Changes and claims in PostgreSQL: read, decide, write, and retry after a lost race."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import msgspec
from asyncpg.connection import Connection
from msgspec.structs import asdict

from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    Decide,
    ReadSet,
    RunUpdate,
    Snapshot,
)
from antiphon.engine.text_search import join_words
from antiphon.stores import admin_rules, invariants
from antiphon.stores.postgres import reads, text_index
from antiphon.stores.postgres.connections import change_statement, execute, fetch_rows, fetch_value
from antiphon.stores.postgres.known_records import KnownRecords
from antiphon.stores.postgres.migrations import DAY_MS, make_parts
from antiphon.stores.postgres.reads import ReadResult
from antiphon.stores.rows import message_columns
from antiphon.stores.sql_schedules import occurrence_columns, schedule_columns
from antiphon.stores.sql_webhooks import new_outcome
from antiphon.telemetry.failpoints import hit
from antiphon.types import events
from antiphon.types.errors import Internal
from antiphon.types.runs import Serves, Status, Thread

# The one statement that writes a change, built from the parts of the change.

SEGMENT = 64  # messages whose chat is joined for good
LONG_TEXT = 20_000  # characters, whose words take some milliseconds
USAGE_PARTS = 16  # rows among which an owner's spending of a day is spread

_encode = msgspec.json.encode


async def write_change(
    connection: Connection[Any], read_set: ReadSet, read: ReadResult, decided: ChangeSet
) -> bool:
    """Write the change; return False if the records it was decided from have changed.

    Raises if the change is not allowed.
    """
    draft = _ChangeStatement(read_set, read, decided)
    await draft.add_words()
    statement = change_statement(tuple(draft.seen), tuple(draft.pieces))
    values = statement.values(draft.values)
    return bool(await connection.fetchval(statement.sql, *values))


async def join_segments(connection: Connection[Any], read: ReadResult, decided: ChangeSet) -> None:
    """Join the JSON of full segments of messages, if the change completed a segment."""
    before, after = read.records.thread, decided.thread
    if after is None or not decided.messages or after.messages < 2 * SEGMENT:
        return
    had = before.messages if before and before.id == after.id else 0
    if had // SEGMENT == after.messages // SEGMENT and decided.keep_messages is None:
        return
    values = {"thread_id": after.id, "length": SEGMENT, "messages": after.messages}
    changes = read.changes + 1 if had or (before and before.id == after.id) else 0
    await execute(connection, "join_segment", changes=changes, **values)


class _ChangeStatement:
    """Builds the statement from its pieces, in an order in which later ones use earlier ones."""

    def __init__(self, read_set: ReadSet, read: ReadResult, decided: ChangeSet) -> None:
        self.pieces: list[str] = []
        self.seen: list[str] = []
        self.values: dict[str, Any] = {"read_at": read.records.now}
        self._read_set = read_set
        self._read = read
        self._decided = decided
        self._add_checks()
        self._add_messages()
        for update in decided.run_updates:
            self._add_run_update(update)
        self._add_request_usage()
        self._add_actions()
        self._add_deliveries()
        self._add_schedule()
        self._add_answer_and_audit()
        self.pieces.sort(key=_ORDER.index)

    async def add_words(self) -> None:
        """Add the words by which the messages are found; those of long ones beside the loop."""
        texts = [message.full_text for message in self._decided.messages]
        if self._decided.thread is None or not texts:
            return

        def encode() -> list[str]:
            return [text_index.encode_vector(self._thread_owner, text) for text in texts]

        is_long = sum(map(len, texts)) > LONG_TEXT
        self.values["message_words"] = await asyncio.to_thread(encode) if is_long else encode()

    def _add(self, *pieces: str, **values: Any) -> None:
        self.pieces += pieces
        self.values |= values

    def _add_checks(self) -> None:
        """Check that the records are as they were read; write the thread in the same piece."""
        seen, thread = self._read.records.thread, self._decided.thread
        known = seen is not None and thread is not None and thread.id == seen.id
        invariants.check_thread_change(seen if known else None, self._decided)
        if seen is not None:
            self.seen.append("threads")
            self._add("saved" if known else "held", thread_id=seen.id, changes=self._read.changes)
        if self._read.runs_begun is not None:
            self.seen.append("keys")
            self._add("key_held", key_id=self._read_set.key_id, begun=self._read.runs_begun)
        self._add_run_check()
        if thread is not None:
            self._add_thread(thread, known=known)

    def _add_schedule(self) -> None:
        """Add the move of the schedule, if it is still as it was read, and its history."""
        stored = self._read.records.schedule
        invariants.check_schedule_update(stored, self._decided)
        if stored is not None:
            self.seen.append("schedules")
            self.values |= {
                "schedule_id": stored.schedule.id,
                "schedule_changes": self._read.schedule_changes,
            }
        update = self._decided.schedule_update
        if update is None:
            return
        columns = schedule_columns(update.stored)
        self._add("scheduled", schedule_next_at=columns["next_at"], schedule=columns["doc"])
        if update.occurrences:
            rows = list(map(occurrence_columns, update.occurrences))
            self._add(
                "recorded",
                schedule_owner=update.stored.owner,
                **{names: [row[name] for row in rows] for names, name in _OCCURRENCE},
            )

    def _add_run_check(self) -> None:
        row = self._read.row
        if row is None:
            return
        self.seen.append("drives")
        self._add(
            run_id=row.run.id,
            last_event_before=row.lease.last_event,
            due_at_before=row.lease.due_at,
        )

    def _add_thread(self, thread: Thread, *, known: bool) -> None:
        self.values |= {
            "version": thread.version,
            "parent_id": thread.parent_id,
            "thread": _encode(thread),
            "title": text_index.encode_vector(self._thread_owner, thread.title),
            "words": join_words(thread.title).encode(),
        }
        if not known:
            self._add("thread_added", new_thread_id=thread.id, new_owner=self._thread_owner)

    @property
    def _thread_owner(self) -> str:
        seen, thread = self._read.records.thread, self._decided.thread
        if self._read.owner is not None and seen and thread and seen.id == thread.id:
            return self._read.owner
        return invariants.require_owner(self._read_set, self._decided)

    def _add_messages(self) -> None:
        """Cut, then add messages; segments that contain a changed message are dropped."""
        thread, messages = self._decided.thread, self._decided.messages
        if thread is None:
            return
        keep = self._decided.keep_messages
        touched = [message.number for message in messages]
        if keep is not None:
            self._add("cut", keep_messages=keep)
            touched.append(keep + 1)
        before = self._read.records.thread
        if touched and before is not None and min(touched) <= before.messages:
            self._add("unsealed", touched=min(touched))
        if messages:
            rows = list(map(message_columns, messages))
            self._add("said", **{names: [row[name] for row in rows] for names, name in _MESSAGE})
        self.values["messages_of"] = thread.id

    def _add_run_update(self, update: RunUpdate) -> None:
        row = self._read.row
        known = row is not None and row.run.id == update.run.id
        invariants.check_run_update((row.run, row.lease) if row and known else None, update)
        if known:
            self._add_moved_run(update)
        elif "begun" not in self.pieces:
            self._add_new_run(update)
        else:
            raise Internal("A change begins one run at most.")
        grown = admin_rules.count_new_tokens(row.run if row and known else None, update.run)
        if grown and update.lease.key_id is not None:  # counted if the key has a limit
            self._add("counted", counted_key=update.lease.key_id, grown=grown)
        had_ended = row is not None and known and row.run.status.ended
        if update.run.status.ended and not had_ended:
            self._add_usage(update)

    def _add_moved_run(self, update: RunUpdate) -> None:
        row, now = self._read.row, self._read.records.now
        waited = row.wanted_at if row and row.lease.wanted else now
        self._add("moved", **_lease_values(update, waited))
        if row and row.run != update.run:
            self._add("run_saved", run=_encode(update.run))
        if update.events:
            self._add("told", **_event_values(update))

    def _add_new_run(self, update: RunUpdate) -> None:
        run = update.run
        values = _lease_values(update, self._read.records.now) | {
            "run_id": run.id,
            "owner": invariants.require_owner(self._read_set, self._decided),
            "run_of": run.thread_id,
            "run": _encode(run),
            **_event_values(update),
        }
        self._add("begun", "begun_drive", **{f"new_{name}": each for name, each in values.items()})
        if update.events:
            self._add("begun_told")

    def _add_usage(self, update: RunUpdate) -> None:
        row = self._read.row
        known = row is not None and row.run.id == update.run.id
        owner = (
            row.owner if row and known else invariants.require_owner(self._read_set, self._decided)
        )
        spent = asdict(admin_rules.usage_of_run(owner, update.run, self._read.records.now))
        part = hash(update.run.id) % USAGE_PARTS
        values = {f"spent_{name}": each for name, each in spent.items()}
        self._add("spent", spent_part=part, **values)

    def _add_request_usage(self) -> None:
        request, now = self._decided.request_usage, self._read.records.now
        if request is None:
            return
        row = asdict(admin_rules.usage_of_request(self._read_set.owner or "", request, now))
        values = {f"spent_{name}": each for name, each in row.items()}
        self._add("spent", spent_part=hash(row["model"]) % USAGE_PARTS, **values)
        if request.key_id is not None:
            grown = admin_rules.count_request_tokens(request)
            self._add("counted", counted_key=request.key_id, grown=grown)

    def _add_actions(self) -> None:
        if self._decided.actions:
            rows = [
                (each.id, each.run_id, each.turn, each.tool_call_id, each.status, _encode(each))
                for each in self._decided.actions
            ]
            columns = map(list, zip(*rows, strict=True))
            self._add("acted", **dict(zip(_ACTION, columns, strict=True)))

    def _add_deliveries(self) -> None:
        """Add the deliveries of the events for webhooks; all runs of a change have one owner."""
        notices = [event for update in self._decided.run_updates for event in update.webhook_events]
        if notices:
            known = self._read.owner
            self._add(
                "announced",
                notice_owner=known or invariants.require_owner(self._read_set, self._decided),
                notice_ids=[event.id for event in notices],
                notice_runs=[event.run_id for event in notices],
                notice_types=[event.type for event in notices],
                notice_bodies=[event.body for event in notices],
                outcome=new_outcome(self._read.records.now),
            )

    def _add_answer_and_audit(self) -> None:
        """Add the stored answer of an idempotency key, and the audit entry."""
        once, entry = self._read_set.idempotency_key, self._decided.audit_entry
        if entry is not None:
            self._add("noted", act_id=entry.id, act_owner=entry.owner, act=_encode(entry))
        if once is not None and not self._decided.more:
            self._add(
                "answered",
                once_owner=once.owner,
                once_route=once.route,
                once_key=once.key,
                digest=once.digest,
                answer=_encode(self._decided.answer),
                subject=invariants.answer_subject(self._read.records, self._decided),
            )


_ORDER = (
    *("held", "saved", "key_held"),
    *("thread_added", "cut", "unsealed", "said"),
    *("moved", "run_saved", "told", "begun", "begun_drive", "begun_told"),
    *("acted", "answered", "counted", "spent", "noted", "announced"),
    *("scheduled", "recorded"),
)
"""All pieces, each after those that it uses."""

_MESSAGE = (
    *(("message_ids", "id"), ("numbers", "number"), ("roles", "role"), ("sizes", "size")),
    *(("tokens", "tokens"), ("chats", "chat"), ("messages", "doc")),
)
"""Parameters of the piece `said`, and the columns of messages that they hold."""
_OCCURRENCE = (
    *(("occurrence_ids", "id"), ("occurrence_statuses", "status"), ("occurrence_times", "due_at")),
    *(("occurrence_births", "created_at"), ("occurrences", "doc")),
)
"""Parameters of the piece `recorded`, and the columns of occurrences that they hold."""
_ACTION = ("action_ids", "action_runs", "turns", "tool_call_ids", "action_statuses", "actions")


def _lease_values(update: RunUpdate, waited: int) -> dict[str, Any]:
    lease = asdict(update.lease)
    return lease | {
        "drive_key_id": lease.pop("key_id"),
        "status": update.run.status.value,
        "wanted_at": waited,
        "ended_at": update.run.ended_at,
    }


def _event_values(update: RunUpdate) -> dict[str, Any]:
    return {
        "first": update.lease.last_event - len(update.events) + 1,
        "lines": b"\n".join(map(events.encode, update.events)),
    }


def translate_conflict(constraint: str | None, decided: ChangeSet) -> Exception:
    """Return the error for a message number or a thread id that is taken."""
    match constraint:
        case "messages_number" if decided.messages:
            return invariants.duplicate_message(decided.messages[0])
        case "threads_id" if decided.thread is not None:
            return invariants.duplicate_id(Thread, decided.thread.id)
        case _:
            return Internal(f"The database refused the change: {constraint}.")


TRIES_WITHOUT_LOCK = (
    4  # then rows are locked first, so that a change that always loses gets through
)
MAX_PAUSE_SECONDS = 0.005  # so that two changes that met do not meet again


class WriteAttempt:
    """Tracks if a change may have been written, so that it must not be repeated."""

    def __init__(self) -> None:
        self.started = False

    @property
    def repeatable(self) -> bool:
        """True if the change can be repeated with another connection."""
        return not self.started


class _Overtaken(Exception):
    """The records that the change was decided from have changed."""


class _Written(NamedTuple):
    read: ReadResult
    decided: ChangeSet


async def change(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Committed:
    """See `RunStore.change`."""
    made = await _change_with_retry(connection, read_set, decide, known, attempt)
    if not isinstance(made, _Written):
        return Committed(made)
    known.record(made.read, made.decided, made.read.owner or made.decided.owner or read_set.owner)
    hit(f"{read_set.what}.after_commit")
    with suppress(asyncpg.PostgresError):  # the next change that completes a segment retries it
        await join_segments(connection, made.read, made.decided)
    return Committed(made.decided.answer, made.decided)


async def claim(
    connection: Connection[Any],
    decide: Decide,
    serves: Serves,
    declined: Sequence[str],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Claim | None:
    """See `RunStore.claim`; after a lost race it takes a run that no other worker takes."""
    firsts = await fetch_rows(connection, "next_wanted", declined=list(declined))
    served = [(run_id, destination) for run_id, destination in firsts if serves(destination)]
    if not served:
        return None
    run_id = served[0][0]
    among = {"destinations": [each for _, each in served], "declined": list(declined)}
    wanted = partial(_decide_if_queued, decide)
    made = await _claim_run(connection, run_id, wanted, among, known, attempt)
    if not isinstance(made, _Written) or made.read.row is None:
        return None
    known.record(made.read, made.decided, made.read.owner)
    hit("claim.after_commit")
    for update in made.decided.run_updates:
        if update.run.status is Status.IN_PROGRESS:
            return Claim(made.read.row.owner, update.run, update.lease, made.decided)
    return None


async def _claim_run(
    connection: Connection[Any],
    run_id: str,
    decide: Decide,
    among: Mapping[str, Sequence[str]],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    with suppress(*_RACE_FAULTS):
        return await _try_change(connection, _claim_read_set(run_id), decide, known, attempt)
    while True:
        with suppress(*_RACE_FAULTS):
            return await _claim_locked(connection, decide, among, known, attempt)


def _claim_read_set(run_id: str) -> ReadSet:
    return ReadSet(owner=None, run_id=run_id, what="claim")


def _decide_if_queued(decide: Decide, records: Snapshot) -> ChangeSet | None:
    run, lease = records.run, records.lease
    if run is None or lease is None or run.status is not Status.QUEUED or not lease.wanted:
        raise _Overtaken
    return decide(records)


async def _claim_locked(
    connection: Connection[Any],
    decide: Decide,
    among: Mapping[str, Sequence[str]],
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    async with connection.transaction():
        run_id = await fetch_value(connection, "claim_next_wanted", **among)
        if run_id is None:
            return None
        return await _try_change(connection, _claim_read_set(run_id), decide, known, attempt)


async def _change_with_retry(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    """Retry the change after each lost race; the decision is pure, so it can be repeated."""
    tries = 0
    while True:
        tries += 1
        try:
            if tries == 1 and (
                made := await _try_change_unread(connection, read_set, decide, known, attempt)
            ):
                return made
            if tries <= TRIES_WITHOUT_LOCK:
                return await _try_change(connection, read_set, decide, known, attempt)
            return await _try_change_locked(connection, read_set, decide, known, attempt)
        except _RACE_FAULTS:
            await asyncio.sleep(random.uniform(0, MAX_PAUSE_SECONDS))  # noqa: S311 - no secret
        except asyncpg.CheckViolationError:
            now = await fetch_value(connection, "now", now=known.given_time)
            if not await make_parts(connection, now // DAY_MS):  # none of the log's was missing
                raise


async def _try_change_locked(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    async with connection.transaction():
        names = {"thread_id": read_set.thread_id, "run_id": read_set.run_id}
        await fetch_value(connection, "lock_change", **names)
        await fetch_value(connection, "lock_key", key_id=read_set.key_id)
        await fetch_value(connection, "lock_run", **names)
        await fetch_value(connection, "lock_schedule", schedule_id=read_set.schedule_id)
        return await _try_change(connection, read_set, decide, known, attempt)


async def _try_change(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> Any:
    """Return what was written, or the stored answer, or None. Raises `_Overtaken`."""
    read = await reads.read_change(connection, read_set, known.given_time)
    known.observe_time(read.records.now)
    if read.answer is not None:
        return read.answer
    decided = decide(read.records)
    if decided is None:
        return None
    return await _write_if_current(connection, read_set, read, decided, known, attempt)


async def _try_change_unread(
    connection: Connection[Any],
    read_set: ReadSet,
    decide: Decide,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> _Written | None:
    """Return what was written of known records; None if a read must decide."""
    if (read := known.find(read_set)) is None:
        return None
    try:
        decided = decide(read.records)
    except Exception:  # noqa: BLE001 - whatever it is, the records may be out of date
        return None
    if decided is None:
        return None
    try:
        return await _write_if_current(connection, read_set, read, decided, known, attempt)
    except _RACE_FAULTS:
        known.forget(read_set.run_id)
        return None


async def _write_if_current(
    connection: Connection[Any],
    read_set: ReadSet,
    read: ReadResult,
    decided: ChangeSet,
    known: KnownRecords,
    attempt: WriteAttempt,
) -> _Written:
    hit(f"{read_set.what}.before_commit")
    attempt.started = True
    try:
        written = await write_change(connection, read_set, read, decided)
    except asyncpg.UniqueViolationError as fault:
        raise await _translate_unique_violation(connection, fault, decided) from fault
    if not written:
        attempt.started = False
        raise _Overtaken
    return _Written(read, decided)


async def _translate_unique_violation(
    connection: Connection[Any], fault: asyncpg.UniqueViolationError, decided: ChangeSet
) -> Exception:
    """Return the error for two changes of which only one is possible."""
    match fault.constraint_name:
        case "active_run" if not connection.is_in_transaction():
            thread_id = decided.run_updates[-1].run.thread_id
            active = await fetch_value(connection, "active_run", thread_id=thread_id)
            return invariants.run_active_error(thread_id, active) if active else _Overtaken()
        case "once_key" | "active_run":
            return _Overtaken()
        case name:
            return translate_conflict(name, decided)


_RACE_FAULTS = (_Overtaken, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
