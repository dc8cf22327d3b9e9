"""Reads of PostgreSQL, as functions of a connection; one round trip where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from asyncpg.connection import Connection
from msgspec.structs import replace

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import IdempotencyKey, ReadSet, Snapshot
from antiphon.engine.text_search import Phrase
from antiphon.engine.thread_order import Position
from antiphon.ports import FilterValue, RecordPage, TagUse
from antiphon.stores import invariants, search_queue
from antiphon.stores import rows as shapes
from antiphon.stores.postgres.connections import (
    NAMED_SQL,
    SQL,
    fetch_row,
    fetch_rows,
    fetch_value,
    number_parameters,
)
from antiphon.stores.record_query import Dialect, RecordQuery
from antiphon.stores.rows import EVENT_PAGE_BYTES, LIST_PAGE_BYTES, RunRow, decoder
from antiphon.stores.sql_schedules import to_schedule
from antiphon.types import events
from antiphon.types.events import EventPage, Numbered
from antiphon.types.messages import Upload
from antiphon.types.runs import Run, RunLease, Thread

T = TypeVar("T")

MAX_VALUE_BYTES = 2**30
"""The largest size of a value in PostgreSQL."""


class ReadResult(NamedTuple):
    """The records that a change reads, and the values that show whether they are still current.

    `answer` is the answer stored under the idempotency key; with one, nothing else was read.
    `runs_begun` counts runs begun under limits of the API key, `changes` counts changes of the
    thread, and `number` is the run's number in the log. `owner` is the thread's. `schedule_changes`
    counts changes of the schedule.
    """

    records: Snapshot
    answer: msgspec.Raw | None = None
    runs_begun: int | None = None
    changes: int = 0
    row: RunRow | None = None
    number: int = 0
    owner: str | None = None
    schedule_changes: int = 0


async def read_change(
    connection: Connection[Any], read_set: ReadSet, now: int | None
) -> ReadResult:
    """Return the records that a change reads, without those of other owners."""
    read = await _read_records(connection, read_set, now)
    if read_set.schedule_id is None or read.answer is not None:
        return read
    row = await fetch_row(connection, SQL["schedule"], id=read_set.schedule_id)
    if row is None or read_set.owner not in (None, row[0]):
        return read
    records = replace(read.records, schedule=to_schedule(row))
    return read._replace(records=records, schedule_changes=row[4])


async def _read_records(
    connection: Connection[Any], read_set: ReadSet, now: int | None
) -> ReadResult:
    """Return what a change reads but for its schedule."""
    once = read_set.idempotency_key
    values = {
        "now": now,
        "once_owner": once.owner if once else None,
        "once_route": once.route if once else None,
        "once_key": once.key if once else None,
        "owner": read_set.owner,
        "thread_id": read_set.thread_id,
        "run_id": read_set.run_id,
        "tool_call_id": read_set.tool_call_id,
        "key_id": read_set.key_id,
    }
    found = await fetch_row(connection, SQL["read_change"], **values)
    read_at, digest, answer, begun, running, used, owner, thread, changes, *of_run = found
    records = Snapshot(now=read_at, running=running or 0, tokens=used or 0)
    if once and digest is not None:
        return ReadResult(records, answer=invariants.replay_answer(once, digest, answer))
    if owner is None:
        return ReadResult(records, runs_begun=begun)
    records = replace(records, thread=decoder(Thread)(thread))
    run_owner, doc, number, wanted_at, *lease, actions = of_run
    if doc is None:
        return ReadResult(records, runs_begun=begun, changes=changes, owner=owner)
    row = RunRow(run_owner, decoder(Run)(doc), shapes.decode_lease(lease), wanted_at)
    records = replace(
        records,
        run=row.run,
        lease=row.lease,
        actions=shapes.decode_actions(actions),
        log=await _read_turn(connection, row, number) if read_set.turn_log else (),
    )
    return ReadResult(records, None, begun, changes, row, number, owner)


async def _read_turn(connection: Connection[Any], row: RunRow, number: int) -> tuple[Numbered, ...]:
    """Return the decoded events after the previous turn, as of when the run was read."""
    after = max(row.lease.turn_began_after, row.lease.kept_after)
    count = row.lease.last_event - after
    lines: list[bytes] = []
    while len(lines) < count:
        page = await read_events(connection, row.run.id, number, after + len(lines))
        if not page.lines:
            break
        lines += page.lines
    return tuple(enumerate(map(events.decode, lines[:count]), after + 1))


async def run_lease(connection: Connection[Any], run_id: str) -> RunLease:
    """See `RunStore.run_lease`."""
    found = await fetch_row(connection, SQL["run_lease"], run_id=run_id)
    if found is None:
        raise invariants.not_found(Run, run_id)
    return shapes.decode_lease(tuple(found))


async def run_leases(connection: Connection[Any], run_ids: Sequence[str]) -> Mapping[str, RunLease]:
    """See `RunStore.run_leases`."""
    found = await fetch_rows(connection, "run_leases", run_ids=list(run_ids))
    return {run_id: shapes.decode_lease(columns) for run_id, *columns in found}


async def run_number(connection: Connection[Any], run_id: str) -> int:
    """Return the run's number in the log, which never changes. Raises `NotFound`."""
    number = await fetch_value(connection, "run_number", run_id=run_id)
    if number is None:
        raise invariants.not_found(Run, run_id)
    return int(number)


async def read_events(
    connection: Connection[Any], run_id: str, number: int, after: int
) -> EventPage:
    """See `RunStore.read_events`; `number` is the run's number in the log."""
    values = {"run_id": run_id, "run": number, "after": after, "cap": EVENT_PAGE_BYTES}
    found = await fetch_row(connection, SQL["log"], **values)
    if found is None:
        raise invariants.not_found(Run, run_id)
    return shapes.build_event_page(run_id, after, *found)


async def call_ids(connection: Connection[Any], run_id: str) -> frozenset[str]:
    """See `RunStore.call_ids`."""
    return frozenset(await fetch_value(connection, "call_ids", run_id=run_id))


async def find_answer(connection: Connection[Any], once: IdempotencyKey) -> msgspec.Raw | None:
    """See `RunStore.find_answer`."""
    values = {"once_owner": once.owner, "once_route": once.route, "once_key": once.key}
    found = await fetch_row(connection, SQL["answer"], **values)
    return invariants.replay_answer(once, *found) if found else None


async def context(connection: Connection[Any], thread_id: str) -> Context:
    """See `RunStore.context`."""
    found = await fetch_row(connection, SQL["context"], thread_id=thread_id)
    if found is None:
        raise invariants.not_found(Thread, thread_id)
    version, messages, tokens, sealed, tail, sealed_marks, marks = found
    chats = filter(None, (sealed, tail))
    # Numbers and roles have no spaces, but PostgreSQL writes some between them.
    found_marks = [each.replace(b" ", b"") for each in (sealed_marks, marks) if each]
    return shapes.build_context(version, messages, tokens, [*chats], found_marks)


async def thread_version(connection: Connection[Any], thread_id: str) -> int:
    """See `RunStore.thread_version`."""
    found = await fetch_value(connection, "version", thread_id=thread_id)
    if found is None:
        raise invariants.not_found(Thread, thread_id)
    return int(found)


async def get(connection: Connection[Any], kind: type[T], owner: str | None, id: str) -> T:
    """See `RunStore.get`."""
    search = RecordQuery(kind, owner, {})
    search.require("id = :id", id=id)
    docs = await _select(connection, search, "doc")
    if not docs:
        raise invariants.not_found(kind, id)
    return decoder(kind)(docs[0])


async def list_records(
    connection: Connection[Any],
    kind: type[Any],
    owner: str | None,
    limit: int,
    after: Position | str | None,
    where: Mapping[str, FilterValue],
    seconds: float | None = None,
) -> RecordPage:
    """See `RunStore.list`; a query is cancelled in the database after `seconds`."""
    search = RecordQuery(kind, owner, where)
    if isinstance(after, Position):
        search.require_after(after)
    elif after is not None:
        place = RecordQuery(kind, owner, where)
        place.require("id = :after", after=after)
        found = await _select(connection, place, place.order_column)
        if not found:
            raise invariants.not_found(kind, after)
        search.require_after(found[0])
    search.require_found(where, DIALECT)
    statement = number_parameters(search.size_limited_sql())
    values = statement.values(search.values | {"limit": limit + 1, "cap": LIST_PAGE_BYTES})
    try:
        docs = await connection.fetch(statement.sql, *values, timeout=seconds)
    except TimeoutError as late:
        raise search_queue.search_timeout_error(seconds or 0.0) from late
    data = [decoder(kind)(doc) for doc, _ in docs[:limit]]
    return RecordPage(data, bool(docs) and docs[0][1] > len(data))


async def count_tags(
    connection: Connection[Any], owner: str, limit: int, after: str, seconds: float | None = None
) -> Sequence[TagUse]:
    """See `RunStore.count_tags`; the query is cancelled in the database after `seconds`."""
    statement = SQL["count_tags"]
    values = statement.values({"owner": owner, "limit": limit, "after": after})
    try:
        rows = await connection.fetch(statement.sql, *values, timeout=seconds)
    except TimeoutError as late:
        raise search_queue.search_timeout_error(seconds or 0.0) from late
    return [TagUse(*row) for row in rows]


def encode_query(
    owner: str | None,
    phrases: Sequence[Phrase],
    file_ids: Sequence[str] | None = None,
    *,
    any_phrase: bool = False,
) -> str:
    """Return the `tsquery` for text of the owner, or of all, that has these phrases.

    With `file_ids` it is for pages of these files. Words consist of letters, digits and their
    marks, which need no escape in quotation marks.
    """
    terms = [
        "({}{})".format(" <-> ".join(f"'{word}'" for word in words), ":*" if prefix else "")
        for words, prefix in phrases
    ]
    if any_phrase:
        terms = [f"({' | '.join(terms)})"]
    if file_ids is not None:
        terms.insert(0, f"({' | '.join(map(_quote_file, file_ids))})")
    return " & ".join(terms if owner is None else [f"'{owner_word(owner)}'", *terms])


def _quote_file(file_id: str) -> str:
    return f"'{file_word(file_id)}'"


def file_word(file_id: str) -> str:
    """Return the word for a file in the index, which no text has."""
    return f"#{file_id.encode().hex()}"


def owner_word(owner: str) -> str:
    """Return the word for an owner in the index, which no text has."""
    return f"@{owner.encode().hex()}"


# jsonb takes no NUL, which documents hold as an escape; a backslash before one may be escaped.
_TEXT = "convert_from({document}, 'UTF8')"
_JSON = (
    rf"(CASE WHEN strpos({_TEXT}, '\u0000') = 0 THEN {_TEXT} ELSE regexp_replace("
    rf"{_TEXT}, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\u0001', 'g') END)::jsonb"
)
_FEEDBACK = b'"feedback":{'


def _flag(name: str) -> str:
    """Return the condition of the partial index of such a field, so that it is used."""
    pair = f'"{name}":true'
    return rf"position('\x{pair.encode().hex()}'::bytea IN doc) > 0"


def _name_condition(key: str, parameter: str) -> str:
    """Return the condition of the index of such a name, so that it is used."""
    name = f"thread_document(doc) -> 'metadata' ->> '{key}'"
    mark = f'"{key}":'.encode().hex()
    return rf"position('\x{mark}'::bytea IN doc) > 0 AND {name} = :{parameter}"


_TAGS = b'"tags":["'
_FOLDER_ID = b'"folder_id":"'
_IS_IN_FOLDER = rf"position('\x{_FOLDER_ID.hex()}'::bytea IN doc) > 0"
_FOLDER = "thread_document(doc) ->> 'folder_id'"

DIALECT = Dialect(
    threads_with_words=NAMED_SQL["threads_with_words"],
    encode_query=encode_query,
    text=f"{_JSON} ->> '{{field}}'",
    number=f"({_JSON} ->> '{{field}}')::bigint",
    pair=f"{_JSON} -> 'metadata' ->> :{{key}}::text = :{{value}}",
    live_runs=NAMED_SQL["live_runs_with_status"],
    run_status="(SELECT drives.status FROM drives WHERE drives.run = runs.seq)",
    flag=_flag,
    named=_name_condition,
    tagged=(
        rf"position('\x{_TAGS.hex()}'::bytea IN doc) > 0 AND EXISTS (SELECT FROM"
        " json_array_elements_text(thread_document(doc) -> 'tags') AS tag WHERE tag = :tag)"
    ),
    in_folder=f"{_IS_IN_FOLDER} AND {_FOLDER} = :folder_id",
    in_any_folder=f"{_IS_IN_FOLDER} AND {_FOLDER} IS NOT NULL",
    rating=(  # few messages have one, and JSON is slow to parse
        rf"CASE WHEN position('\x{_FEEDBACK.hex()}'::bytea IN doc) > 0"
        rf" THEN {_JSON.format(document='doc')} -> 'feedback' ->> 'rating' END"
    ),
)


async def _select(connection: Connection[Any], search: RecordQuery, column: str) -> list[Any]:
    statement = number_parameters(search.sql(column))
    values = statement.values(search.values | {"limit": 1})
    return [found[0] for found in await connection.fetch(statement.sql, *values)]


async def content(
    connection: Connection[Any], owner: str | None, upload_id: str, start: int, size: int | None
) -> bytes:
    """See `RunStore.content`; reads only the given part of the file."""
    values = {"id": upload_id, "start": start, "size": MAX_VALUE_BYTES if size is None else size}
    found = await fetch_row(connection, SQL["content"], **values)
    if found is None or owner not in (None, found[0]):
        raise invariants.not_found(Upload, upload_id)
    return found[1] or b""
