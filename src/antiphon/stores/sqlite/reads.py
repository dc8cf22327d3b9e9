"""Reads of SQLite, as functions of a connection; each a single statement where possible.

Every step of a cursor releases the interpreter's lock and has to get it back from a busy loop, so
the database joins rows and this module splits them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import IdempotencyKey, ReadSet, Snapshot
from antiphon.engine.text_search import Phrase
from antiphon.engine.thread_order import Position
from antiphon.ports import FilterValue, RecordPage, TagUse
from antiphon.stores import invariants, statements
from antiphon.stores import rows as shapes
from antiphon.stores.record_query import Dialect, RecordQuery
from antiphon.stores.rows import EVENT_PAGE_BYTES, RunRow, decoder, take_page
from antiphon.stores.sql_schedules import to_schedule
from antiphon.types import events
from antiphon.types.accounts import Counter, period
from antiphon.types.events import EventPage, Numbered
from antiphon.types.messages import Upload
from antiphon.types.personal import PersonalRecord
from antiphon.types.runs import Action, Run, RunLease, Serves, Thread

T = TypeVar("T")

SQL = statements.load_statements("sqlite")


def fetch_one(connection: sqlite3.Connection, name: str, *values: Any) -> tuple[Any, ...] | None:
    """Return the first row of a named statement."""
    return cast("tuple[Any, ...] | None", connection.execute(SQL[name], values).fetchone())


def fetch_all(connection: sqlite3.Connection, name: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return all rows of a named statement."""
    return connection.execute(SQL[name], values).fetchall()


class FoundRows(NamedTuple):
    """The rows of a run and of a thread, with its owner, that a change has read."""

    run: RunRow | None
    thread: tuple[str, Thread] | None


def read_records(
    connection: sqlite3.Connection, read_set: ReadSet, now: int
) -> tuple[Snapshot, FoundRows]:
    """Return the records that a change reads, without those of other owners, and their rows."""
    known = _read_key_usage(connection, read_set.key_id, now)
    if read_set.schedule_id is not None:
        row = connection.execute(SQL["schedule"], {"id": read_set.schedule_id}).fetchone()
        stored = to_schedule(row) if row else None
        if stored and read_set.owner in (None, stored.owner):
            known = replace(known, schedule=stored)
    if read_set.personal:
        row = connection.execute(SQL["personal"], {"owner": read_set.owner}).fetchone()
        known = replace(known, personal=decoder(PersonalRecord)(row[0])) if row else known
    row = find_run(connection, read_set.run_id) if read_set.run_id else None
    thread_id = read_set.thread_id or (row.run.thread_id if row else None)
    found = find_thread(connection, thread_id) if thread_id else None
    if found is None or read_set.owner not in (None, found[0]):
        return known, FoundRows(row, found)
    if read_set.run_id is None:
        active = find_active_run(connection, found[1].id)
        row = find_run(connection, active) if active else None
    if row is None or row.run.thread_id != found[1].id:
        return replace(known, thread=found[1]), FoundRows(row, found)
    wanted = {"run_id": row.run.id, "tool_call_id": read_set.tool_call_id}
    (actions,) = connection.execute(SQL["actions"], wanted).fetchone()
    snapshot = replace(
        known,
        thread=found[1],
        run=row.run,
        lease=row.lease,
        actions=_ACTIONS.decode(actions),
        log=_read_turn(connection, row) if read_set.turn_log else (),
    )
    return snapshot, FoundRows(row, found)


def _read_key_usage(connection: sqlite3.Connection, key_id: str | None, now: int) -> Snapshot:
    """Return a snapshot with the key's usage alone."""
    if key_id is None:
        return Snapshot(now=now)
    tokens = Counter(key_id, "tokens")
    (running,) = connection.execute(SQL["count_running"], (key_id,)).fetchone()
    used = fetch_one(connection, "tokens_used", key_id, tokens.what, period(tokens, now))
    return Snapshot(now=now, running=running, tokens=used[0] if used else 0)


def find_run(connection: sqlite3.Connection, run_id: str) -> RunRow | None:
    """Return the run, of whichever owner."""
    row = fetch_one(connection, "run", run_id)
    if row is None:
        return None
    owner, doc, wanted_at, *lease = row
    return RunRow(owner, decoder(Run)(doc), shapes.decode_lease(lease), wanted_at)


def find_active_run(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """Return the id of the thread's run that has not ended."""
    row = fetch_one(connection, "active_run", thread_id)
    return row[0] if row else None


def find_next_run(
    connection: sqlite3.Connection, serves: Serves, declined: Sequence[str]
) -> str | None:
    """Return the id of the run that `RunStore.claim` changes."""
    firsts = fetch_all(connection, "next_wanted", _json(declined))
    return next((run_id for run_id, destination in firsts if serves(destination)), None)


def find_unclaimed_runs(
    connection: sqlite3.Connection, serves: Serves, wanted_before: int, limit: int
) -> Sequence[str]:
    """See `RunStore.find_unclaimed_runs`."""
    served = [text for (text,) in fetch_all(connection, "destinations") if serves(text)]
    found = fetch_all(connection, "unclaimed", _json(served), wanted_before, limit)
    return [run_id for (run_id,) in found]


def _json(texts: Sequence[str]) -> str:
    return msgspec.json.encode(texts).decode()


def find_thread(connection: sqlite3.Connection, thread_id: str) -> tuple[str, Thread] | None:
    """Return a thread and its owner."""
    row = fetch_one(connection, "thread", thread_id)
    return (row[0], decoder(Thread)(row[1])) if row else None


def run_lease(connection: sqlite3.Connection, run_id: str) -> RunLease:
    """See `RunStore.run_lease`."""
    row = find_run(connection, run_id)
    if row is None:
        raise invariants.not_found(Run, run_id)
    return row.lease


def run_leases(connection: sqlite3.Connection, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
    """See `RunStore.run_leases`."""
    found = fetch_all(connection, "run_leases", _json(run_ids))
    return {run_id: shapes.decode_lease(columns) for run_id, *columns in found}


def read_events(connection: sqlite3.Connection, run_id: str, after: int) -> EventPage:
    """See `RunStore.read_events`."""
    values = {"run_id": run_id, "after": after, "cap": EVENT_PAGE_BYTES}
    row = connection.execute(SQL["log"], values).fetchone()
    if row is None:
        raise invariants.not_found(Run, run_id)
    ended, kept_after, last_event, first, joined = row
    return shapes.build_event_page(
        run_id, after, bool(ended), kept_after, last_event, first, joined
    )


def _read_turn(connection: sqlite3.Connection, row: RunRow) -> tuple[Numbered, ...]:
    """Return the decoded events after the previous turn."""
    after = max(row.lease.turn_began_after, row.lease.kept_after)
    lines: list[bytes] = []
    more = True
    while more:
        page = read_events(connection, row.run.id, after + len(lines))
        lines += page.lines
        more = page.more
    return tuple(enumerate(map(events.decode, lines), after + 1))


def call_ids(connection: sqlite3.Connection, run_id: str) -> frozenset[str]:
    """See `RunStore.call_ids`."""
    (ids,) = connection.execute(SQL["call_ids"], (run_id,)).fetchone()
    return _IDS.decode(ids)


def find_answer(connection: sqlite3.Connection, once: IdempotencyKey) -> msgspec.Raw | None:
    """See `RunStore.find_answer`."""
    row = fetch_one(connection, "answer", once.owner, once.route, once.key)
    return invariants.replay_answer(once, *row) if row else None


def thread_version(connection: sqlite3.Connection, thread_id: str) -> int:
    """See `RunStore.thread_version`."""
    row = fetch_one(connection, "version", thread_id)
    if row is None:
        raise invariants.not_found(Thread, thread_id)
    return int(row[0])


def context(connection: sqlite3.Connection, thread_id: str) -> Context:
    """See `RunStore.context`."""
    row = connection.execute(SQL["context"], {"thread_id": thread_id}).fetchone()
    if row is None:
        raise invariants.not_found(Thread, thread_id)
    number, messages, tokens, chat, sealed_landmarks, landmarks = row
    marks = filter(None, (sealed_landmarks, landmarks))
    return shapes.build_context(number, messages, tokens, [chat or b""], [*marks])


def newest_rows(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the numbers of the newest rows of `fresh` and of `log`."""
    fresh, folded = connection.execute(SQL["newest_rows"]).fetchone()
    return fresh, folded


def foreign_runs(
    connection: sqlite3.Connection, above: tuple[int, int], writer: int
) -> Sequence[str]:
    """Return ids of runs to which another writer added rows above these of `fresh` and `log`.

    Rows that were folded since are found in the log, so a run may be reported twice.
    """
    fresh, folded = above
    values = {"fresh": fresh, "folded": folded, "me": writer}
    return [run_id for (run_id,) in connection.execute(SQL["foreign_runs"], values)]


def get(connection: sqlite3.Connection, kind: type[T], owner: str | None, id: str) -> T:
    """See `RunStore.get`."""
    search = RecordQuery(kind, owner, {})
    search.require("id = :id", id=id)
    docs = _select(connection, search, "doc")
    if not docs:
        raise invariants.not_found(kind, id)
    return decoder(kind)(docs[0])


def list_records(
    connection: sqlite3.Connection,
    kind: type[Any],
    owner: str | None,
    limit: int,
    after: Position | str | None,
    where: Mapping[str, FilterValue],
) -> RecordPage:
    """See `RunStore.list`."""
    search = RecordQuery(kind, owner, where)
    if isinstance(after, Position):
        search.require_after(after)
    elif after is not None:
        place = RecordQuery(kind, owner, where)
        place.require("id = :after", after=after)
        found = _select(connection, place, place.order_column)
        if not found:
            raise invariants.not_found(kind, after)
        search.require_after(found[0])
    search.require_found(where, _DIALECT)
    values = search.values | {"limit": limit + 1}
    with closing(connection.execute(search.sql("doc"), values)) as rows:
        docs, more = take_page((doc for (doc,) in rows), limit)
    return RecordPage([decoder(kind)(doc) for doc in docs], more)


def count_tags(connection: sqlite3.Connection, values: Mapping[str, Any]) -> Sequence[TagUse]:
    """See `RunStore.count_tags`."""
    return [TagUse(*row) for row in connection.execute(SQL["count_tags"], values)]


def encode_query(
    owner: str | None,
    phrases: Sequence[Phrase],
    file_ids: Sequence[str] | None = None,
    *,
    any_phrase: bool = False,
) -> str:
    """Return the expression of FTS5 for text of the owner, or of all, that has these phrases.

    With `file_ids` it is for pages of these files. Phrases consist of letters, digits and their
    marks, which need no escape in quotation marks.
    """
    terms = (f'"{" ".join(words)}"{" *" if prefix else ""}' for words, prefix in phrases)
    found = f"words : ({(' OR ' if any_phrase else ' AND ').join(terms)})"
    if file_ids is not None:
        files = " OR ".join(f'"{each.encode().hex().upper()}"' for each in file_ids)
        found = f"file : ({files}) AND {found}"
    return found if owner is None else f'owner : "{owner.encode().hex().upper()}" AND {found}'


def _flag(name: str) -> str:
    """Return the condition of the partial index of such a field, so that it is used."""
    return f"instr(doc, CAST('\"{name}\":true' AS BLOB)) > 0"


def _name_condition(key: str, parameter: str) -> str:
    """Return the condition of the index of such a name, so that it is used."""
    name = f"json_extract(CAST(doc AS TEXT), '$.metadata.{key}')"
    return f"instr(doc, CAST('\"{key}\":' AS BLOB)) > 0 AND {name} = :{parameter}"


_IS_IN_FOLDER = 'instr(doc, CAST(\'"folder_id":"\' AS BLOB)) > 0'
_FOLDER = "json_extract(CAST(doc AS TEXT), '$.folder_id')"

_DIALECT = Dialect(
    threads_with_words=SQL["threads_with_words"],
    encode_query=encode_query,
    text="json_extract(CAST({document} AS TEXT), '$.{field}')",
    number="json_extract(CAST({document} AS TEXT), '$.{field}')",
    pair=(
        "EXISTS (SELECT 1 FROM json_each(CAST({document} AS TEXT), '$.metadata')"
        " WHERE json_each.key = :{key} AND json_each.value = :{value})"
    ),
    live_runs=SQL["live_runs_with_status"],
    run_status="status",
    flag=_flag,
    named=_name_condition,
    tagged=(
        'instr(doc, CAST(\'"tags":["\' AS BLOB)) > 0'
        " AND EXISTS (SELECT 1 FROM json_each(CAST(doc AS TEXT), '$.tags')"
        " WHERE json_each.value = :tag)"
    ),
    in_folder=f"{_IS_IN_FOLDER} AND {_FOLDER} = :folder_id",
    in_any_folder=f"{_IS_IN_FOLDER} AND {_FOLDER} IS NOT NULL",
    rating=(  # few messages have one, and JSON is slow to parse
        "CASE WHEN instr(doc, CAST('\"feedback\":{' AS BLOB)) > 0"
        " THEN json_extract(CAST(doc AS TEXT), '$.feedback.rating') END"
    ),
)


def _select(connection: sqlite3.Connection, search: RecordQuery, column: str) -> list[Any]:
    values = search.values | {"limit": 1}
    return [value for (value,) in connection.execute(search.sql(column), values)]


def content(
    connection: sqlite3.Connection,
    owner: str | None,
    upload_id: str,
    start: int,
    size: int | None,
) -> bytes:
    """See `RunStore.content`; reads only the given part of the file."""
    connection.execute("BEGIN")  # one snapshot: a row's number may be another file's later
    try:
        row = fetch_one(connection, "content", upload_id)
        if row is None or owner not in (None, row[0]):
            raise invariants.not_found(Upload, upload_id)
        with connection.blobopen("contents", "content", row[1], readonly=True) as blob:
            blob.seek(min(start, len(blob)))
            return blob.read(-1 if size is None else size)
    finally:
        connection.execute("ROLLBACK")


_ACTIONS = msgspec.json.Decoder(tuple[Action, ...])
_IDS = msgspec.json.Decoder(frozenset[str])
