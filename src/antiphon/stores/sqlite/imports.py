"""Imports into SQLite, as functions of a connection inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict

from antiphon.ports import ImportBatch, ImportedRun
from antiphon.stores import invariants
from antiphon.stores.rows import decoder, records_sql
from antiphon.stores.sqlite import admin, reads, writes
from antiphon.stores.sqlite.reads import SQL
from antiphon.types.accounts import AuditEntry, UsageRow
from antiphon.types.messages import Message

T = TypeVar("T")

_encode = msgspec.json.encode


def find_records(
    connection: sqlite3.Connection, kind: type[T], ids: Sequence[str]
) -> Mapping[str, tuple[str, T]]:
    """See `AdminStore.find_records`."""
    sql = records_sql(kind, "IN (SELECT value FROM json_each(?))")
    read = decoder(kind)
    found = connection.execute(sql, (_json(ids),))
    return {each: (owner, read(doc)) for each, owner, doc in found}


def thread_families(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> dict[str, str]:
    """See `AdminStore.thread_families`."""
    return dict(reads.fetch_all(connection, "families", _json(thread_ids)))


def import_records(connection: sqlite3.Connection, owner: str, batch: ImportBatch) -> None:
    """See `AdminStore.import_records`."""
    try:
        _insert(connection, owner, batch)
    except sqlite3.IntegrityError as fault:
        raise invariants.taken_meanwhile(f"record ({fault})") from fault


def _insert(connection: sqlite3.Connection, owner: str, batch: ImportBatch) -> None:
    many = connection.executemany
    many(SQL["add_assistant"], ((each.id, owner, _encode(each)) for each in batch.assistants))
    for upload, content in batch.uploads:
        connection.execute(SQL["add_upload"], (upload.id, owner, _encode(upload)))
        connection.execute(SQL["add_content"], (upload.id, content))
    many(
        SQL["import_thread"],
        (
            (
                thread.id,
                owner,
                thread.version,
                invariants.fold_case(thread.title),
                _encode(thread),
                family,
            )
            for thread, family in batch.threads
        ),
    )
    many(SQL["add_message"], map(writes.message_row, batch.messages))
    _join_segments(connection, batch.messages)
    many(SQL["add_run"], (_run_columns(owner, each) for each in batch.runs))
    many(
        SQL["import_events"],
        ((each.run_id, each.first, each.last, b"\n".join(each.lines)) for each in batch.events),
    )
    many(
        SQL["import_action"],
        (
            (each.id, each.run_id, each.turn, each.tool_call_id, each.status, _encode(each))
            for each in batch.actions
        ),
    )


def _join_segments(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    added: dict[str, list[Message]] = {}
    for message in messages:
        added.setdefault(message.thread_id, []).append(message)
    for thread_id, of_thread in added.items():
        kept = reads.find_thread(connection, thread_id)
        if kept and kept[1].messages >= 2 * writes.SEGMENT:
            writes.join_segments(connection, of_thread, kept[1])


def _run_columns(owner: str, imported: ImportedRun) -> dict[str, Any]:
    run = imported.run
    return {
        **asdict(invariants.lease_of_imported(imported)),
        "id": run.id,
        "owner": owner,
        "thread_id": run.thread_id,
        "status": run.status.value,
        "wanted_at": run.created_at,
        "ended_at": run.ended_at,
        "doc": _encode(run),
    }


def transfer_owned(connection: sqlite3.Connection, owner: str, to: str, limit: int) -> int:
    """See `AdminStore.transfer_owned`."""
    values = {"owner": owner, "to": to, "limit": limit}
    for name in ("transfer_assistants", "transfer_uploads"):
        if given := connection.execute(SQL[name], values).rowcount:
            return given
    connection.execute(SQL["transfer_runs"], values)
    return connection.execute(SQL["transfer_threads"], values).rowcount


def finish_import(
    connection: sqlite3.Connection,
    usage: Sequence[UsageRow],
    entries: Sequence[AuditEntry],
    entry: AuditEntry | None,
) -> None:
    """See `AdminStore.finish_import`."""
    connection.executemany(SQL["import_spent"], map(asdict, usage))
    rows = ((each.id, each.owner, _encode(each)) for each in entries)
    connection.executemany(SQL["import_act"], rows)
    admin.append_audit_entry(connection, entry)


def _json(ids: Sequence[str]) -> str:
    return _encode(ids).decode()
