"""Writes to SQLite, as functions of a connection inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    Decide,
    IdempotencyKey,
    ReadSet,
    RequestUsage,
    RunUpdate,
    ScheduleUpdate,
)
from antiphon.engine.text_search import join_words
from antiphon.ports import Editable
from antiphon.stores import admin_rules, invariants
from antiphon.stores.append_batcher import PendingAppend
from antiphon.stores.rows import message_columns
from antiphon.stores.sql_schedules import occurrence_columns, schedule_columns
from antiphon.stores.sql_webhooks import delivery_columns
from antiphon.stores.sqlite import reads, text_index
from antiphon.stores.sqlite.reads import SQL, FoundRows
from antiphon.types import events
from antiphon.types.accounts import PERIODS
from antiphon.types.errors import Fenced, Internal
from antiphon.types.folders import Folder
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import Action, Assistant, Status, Thread

APPEND_ROWS = 128  # written by one statement
SEGMENT = 64  # messages whose JSON is stored joined
EXPIRY_BATCH_RUNS = 200
"""Runs whose events are deleted in one transaction, so that other writes get their turn."""

_encode = msgspec.json.encode


def change(
    connection: sqlite3.Connection, read_set: ReadSet, decide: Decide, now: int, writer: int
) -> Committed:
    """See `RunStore.change`."""
    once = read_set.idempotency_key
    if once and (earlier := reads.find_answer(connection, once)) is not None:
        return Committed(earlier)
    records, found = reads.read_records(connection, read_set, now)
    decided = decide(records)
    if decided is None:
        return Committed()
    invariants.check_schedule_update(records.schedule, decided)
    _write_thread(connection, read_set, decided, found)
    if decided.schedule_update is not None:
        write_schedule(connection, decided.schedule_update)
    for update in decided.run_updates:
        _write_run(connection, read_set, decided, update, found, now, writer)
    if decided.request_usage is not None:
        _write_request_usage(connection, read_set, decided.request_usage, now)
    for action in decided.actions:
        _write_action(connection, action)
    if (entry := decided.audit_entry) is not None:
        values = {"id": entry.id, "owner": entry.owner, "doc": _encode(entry)}
        connection.execute(SQL["add_audit_entry"], values)
    if once and not decided.more:
        answer, subject = _encode(decided.answer), invariants.answer_subject(records, decided)
        _save_answer(connection, once, answer, subject, now)
    return Committed(decided.answer, decided)


def claim(
    connection: sqlite3.Connection,
    next_wanted: Callable[[sqlite3.Connection], str | None],
    decide: Decide,
    now: int,
    writer: int,
) -> Claim | None:
    """See `RunStore.claim`; `next_wanted` reads the id of the run that is to be claimed."""
    wanted = next_wanted(connection)
    if wanted is None:
        return None
    read_set = ReadSet(owner=None, run_id=wanted)
    committed = change(connection, read_set, decide, now, writer)
    row = reads.find_run(connection, wanted)
    if row is None or row.run.status is not Status.IN_PROGRESS:
        return None
    return Claim(row.owner, row.run, row.lease, committed.change)


def renew_leases(
    connection: sqlite3.Connection, epochs: Mapping[str, int], due_at: int
) -> frozenset[str]:
    """See `RunStore.renew_leases`."""
    return frozenset(
        run_id
        for run_id, epoch in epochs.items()
        if connection.execute(SQL["renew_leases"], (due_at, run_id, epoch)).rowcount == 0
    )


def append(
    connection: sqlite3.Connection, appended: Sequence[PendingAppend], writer: int
) -> frozenset[int]:
    """Write appends whose epoch is current; return the places of the others."""
    rows = [
        (each.run_id, each.epoch, each.first, each.last, writer, b"\n".join(each.lines))
        for each in appended
    ]
    fenced: set[int] = set()
    for start, end in _split_in_powers_of_two(len(rows)):
        group = rows[start:end]
        flat = [value for row in group for value in row]
        written = connection.execute(_append_sql(len(group)), flat).rowcount
        if written != len(group):
            fenced |= {start + place for place in _find_refused(connection, group)}
    return frozenset(fenced)


def _split_in_powers_of_two(count: int) -> Iterator[tuple[int, int]]:
    """Split the count into powers of two: few different statements, each prepared once."""
    start = 0
    while start < count:
        size = min(APPEND_ROWS, 1 << ((count - start).bit_length() - 1))
        yield start, start + size
        start += size


@cache
def _append_sql(rows: int) -> str:
    return SQL["append"].format(rows=", ".join(["(?, ?, ?, ?, ?, ?)"] * rows))


def _find_refused(
    connection: sqlite3.Connection, group: Sequence[tuple[Any, ...]]
) -> Iterator[int]:
    for place, (run_id, _, first, last, writer, lines) in enumerate(group):
        if reads.fetch_one(connection, "find_append", run_id, last, first, writer, lines) is None:
            yield place


def fold(connection: sqlite3.Connection) -> None:
    """Move the rows of `fresh` into `log`."""
    if connection.execute(SQL["fold"]).rowcount:
        connection.execute(SQL["empty_fresh"])


def put(
    connection: sqlite3.Connection,
    owner: str,
    record: Assistant | Folder | Upload,
    once: IdempotencyKey | None,
    content: bytes | None,
    now: int,
) -> Any:
    """See `RunStore.put`."""
    if once and (answer := reads.find_answer(connection, once)) is not None:
        return answer
    _add_record(connection, owner, record)
    if content is not None:
        connection.execute(SQL["add_content"], (record.id, content))
    if once:
        _save_answer(connection, once, _encode(record), record.id, now)
    return record


def update_record(
    connection: sqlite3.Connection,
    kind: type[Editable],
    owner: str,
    id: str,
    change: Callable[[Editable], Editable],
) -> Editable:
    """See `RunStore.update_record`."""
    changed = change(reads.get(connection, kind, owner, id))
    connection.execute(SQL[_UPDATES[kind]], (_encode(changed), id))
    return changed


def save_feedback(
    connection: sqlite3.Connection, owner: str, message_id: str, feedback: Feedback | None
) -> Message:
    """See `RunStore.save_feedback`."""
    rated = replace(reads.get(connection, Message, owner, message_id), feedback=feedback)
    connection.execute(SQL["save_message"], (_encode(rated), message_id))
    return rated


def delete(connection: sqlite3.Connection, kind: type[Any], owner: str | None, id: str) -> None:
    """See `RunStore.delete`."""
    if connection.execute(SQL[_REMOVALS[kind]], (id, owner)).rowcount == 0:
        raise invariants.not_found(kind, id)
    connection.execute(SQL["clear_answers"], (id,))


def delete_expired(connection: sqlite3.Connection, events_before: int, keys_before: int) -> int:
    """Delete some expired events and answers; return how many runs and answers."""
    fold(connection)  # so that events are in one table
    values = {"before": events_before, "limit": EXPIRY_BATCH_RUNS}
    connection.execute(SQL["expire_events"], values)
    runs = connection.execute(SQL["mark_expired"], values).rowcount
    return runs + connection.execute(SQL["expire_answers"], (keys_before,)).rowcount


def get_or_add_meta(connection: sqlite3.Connection, name: str, offered: Any) -> Any:
    """Return the value stored under the name; store `offered` if there is none."""
    connection.execute(SQL["add_meta"], (name, offered))
    (value,) = connection.execute(SQL["meta"], (name,)).fetchone()
    return value


def save_meta(connection: sqlite3.Connection, name: str, value: Any) -> None:
    """Store the value under the name."""
    connection.execute(SQL["save_meta"], (name, value))


def _save_answer(
    connection: sqlite3.Connection,
    once: IdempotencyKey,
    answer: bytes,
    subject: str | None,
    now: int,
) -> None:
    values = (once.owner, once.route, once.key, once.digest, answer, subject, now)
    connection.execute(SQL["save_answer"], values)


def _write_thread(
    connection: sqlite3.Connection, read_set: ReadSet, decided: ChangeSet, found: FoundRows
) -> None:
    thread = decided.thread
    row = found.thread
    if thread is not None and (row is None or row[1].id != thread.id):
        row = reads.find_thread(connection, thread.id)
    invariants.check_thread_change(row[1] if row else None, decided)
    if thread is None:
        return
    owner = row[0] if row else invariants.require_owner(read_set, decided)
    _save_thread(connection, owner, thread)
    if decided.keep_messages is not None:
        connection.execute(SQL["cut_messages"], (thread.id, decided.keep_messages))
        connection.execute(SQL["drop_segments"], (thread.id, decided.keep_messages + 1))
    if decided.messages:
        connection.executemany(SQL["add_message"], map(message_columns, decided.messages))
        text_index.add(connection, owner, decided.messages)
        if thread.messages >= 2 * SEGMENT:
            join_segments(connection, decided.messages, thread)


def write_schedule(connection: sqlite3.Connection, update: ScheduleUpdate) -> None:
    """Write the schedule that the change has read, and add to its history."""
    connection.execute(SQL["save_schedule"], schedule_columns(update.stored))
    for occurrence in update.occurrences:
        values = {"owner": update.stored.owner, **occurrence_columns(occurrence)}
        connection.execute(SQL["add_occurrence"], values)


def join_segments(connection: sqlite3.Connection, added: Sequence[Message], thread: Thread) -> None:
    """Join the JSON of full segments of messages."""
    connection.execute(SQL["drop_segments"], (thread.id, min(message.number for message in added)))
    values = {"thread_id": thread.id, "length": SEGMENT, "messages": thread.messages}
    while connection.execute(SQL["join_segment"], values).rowcount:
        pass


def _save_thread(connection: sqlite3.Connection, owner: str, thread: Thread) -> None:
    values = (
        thread.id,
        owner,
        thread.version,
        join_words(thread.title),
        _encode(thread),
    )
    connection.execute(SQL["save_thread"], values)


def _write_run(
    connection: sqlite3.Connection,
    read_set: ReadSet,
    decided: ChangeSet,
    update: RunUpdate,
    found: FoundRows,
    now: int,
    writer: int,
) -> None:
    """Write the new run and lease. Raises `Fenced` if its status or epoch has changed."""
    row = found.run
    if row is None or row.run.id != update.run.id:
        row = reads.find_run(connection, update.run.id)
    invariants.check_run_update((row.run, row.lease) if row else None, update)
    run, lease = update.run, update.lease
    waited = row.wanted_at if row and row.lease.wanted else now
    values = {
        **asdict(lease),
        "id": run.id,
        "thread_id": run.thread_id,
        "status": run.status.value,
        "wanted_at": waited,
        "ended_at": run.ended_at,
        "doc": _encode(run),
    }
    if row is None:
        _add_run(connection, values | {"owner": invariants.require_owner(read_set, decided)})
    else:
        before = {"status_before": row.run.status.value, "epoch_before": row.lease.epoch}
        if connection.execute(SQL["move_run"], values | before).rowcount == 0:
            raise Fenced(f"Run {run.id} has moved on since it was read.")
    grown = admin_rules.count_new_tokens(row.run if row else None, run)
    if grown and lease.key_id is not None:
        _count_tokens(connection, lease.key_id, grown, now)
    if run.status.ended and not (row and row.run.status.ended):
        owner = row.owner if row else invariants.require_owner(read_set, decided)
        connection.execute(SQL["add_usage"], asdict(admin_rules.usage_of_run(owner, run, now)))
    if update.events:
        first = lease.last_event - len(update.events) + 1
        lines = b"\n".join(map(events.encode, update.events))
        connection.execute(SQL["add_events"], (first, lease.last_event, writer, lines, run.id))
    for event in update.webhook_events:
        owner = row.owner if row else invariants.require_owner(read_set, decided)
        values = {"owner": owner, "now": now, **delivery_columns(event, now)}
        connection.execute(SQL["add_deliveries"], values)


def _write_request_usage(
    connection: sqlite3.Connection, read_set: ReadSet, request: RequestUsage, now: int
) -> None:
    owner = read_set.owner or ""
    row = admin_rules.usage_of_request(owner, request, now)
    connection.execute(SQL["add_usage"], asdict(row))
    if request.key_id is not None:
        amount = admin_rules.count_request_tokens(request)
        _count_tokens(connection, request.key_id, amount, now)


def _count_tokens(connection: sqlite3.Connection, key_id: str, amount: int, now: int) -> None:
    """Count tokens that a run has used, if its key has a token limit."""
    (limited,) = connection.execute(SQL["has_tokens_limit"], (key_id,)).fetchone()
    if limited:
        counter = {"key_id": key_id, "what": "tokens", "period_ms": PERIODS["tokens"]}
        connection.execute(SQL["count_usage"], counter | {"amount": amount, "now": now})


def _add_run(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    try:
        connection.execute(SQL["add_run"], values)
    except sqlite3.IntegrityError as fault:
        active = reads.find_active_run(connection, values["thread_id"])
        if active is None:
            raise Internal(f"Run {values['id']} cannot be added: {fault}.") from fault
        raise invariants.second_run_error(values["thread_id"], active) from fault


def _write_action(connection: sqlite3.Connection, action: Action) -> None:
    values = (
        action.id,
        action.run_id,
        action.turn,
        action.tool_call_id,
        action.status,
        _encode(action),
    )
    connection.execute(SQL["save_action"], values)


def _add_record(
    connection: sqlite3.Connection, owner: str, record: Assistant | Folder | Upload
) -> None:
    values = {"id": record.id, "owner": owner, "doc": _encode(record)}
    if isinstance(record, Folder):
        (count,) = connection.execute(SQL["count_folders"], {"owner": owner}).fetchone()
        invariants.check_folder_count(count)
    try:
        connection.execute(SQL[_ADDITIONS[type(record)]], values)
    except sqlite3.IntegrityError as fault:
        raise invariants.duplicate_id(type(record), record.id) from fault


_ADDITIONS: Mapping[type[Any], str] = {
    Assistant: "add_assistant",
    Folder: "add_folder",
    Upload: "add_upload",
}
_UPDATES: Mapping[type[Any], str] = {Assistant: "save_assistant", Folder: "save_folder"}
_REMOVALS: Mapping[type[Any], str] = {
    Assistant: "remove_assistant",
    Folder: "remove_folder",
    Thread: "remove_thread",
    Upload: "remove_upload",
}
