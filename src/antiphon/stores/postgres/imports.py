"""Imports into PostgreSQL, as functions of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
from asyncpg.connection import Connection
from msgspec.structs import asdict

from antiphon.ports import ImportBatch, ImportedRun
from antiphon.stores import invariants
from antiphon.stores.postgres.admin import append_audit_entry
from antiphon.stores.postgres.changes import SEGMENT, message_row
from antiphon.stores.postgres.connections import (
    SQL,
    execute,
    fetch_rows,
    fetch_value,
    number_parameters,
)
from antiphon.stores.postgres.migrations import DAY_MS, make_parts
from antiphon.stores.rows import decoder, records_sql
from antiphon.types.accounts import AuditEntry, UsageRow
from antiphon.types.messages import Message
from antiphon.types.runs import Thread

T = TypeVar("T")

_encode = msgspec.json.encode
_MESSAGE = ("id", "number", "role", "size", "tokens", "chat", "words", "doc")


async def find_records(
    connection: Connection[Any], kind: type[T], ids: Sequence[str]
) -> Mapping[str, tuple[str, T]]:
    """See `AdminStore.find_records`."""
    statement = number_parameters(records_sql(kind, "= ANY (:ids::text[])"))
    read = decoder(kind)
    found = await connection.fetch(statement.sql, list(ids))
    return {each: (owner, read(doc)) for each, owner, doc in found}


async def thread_families(
    connection: Connection[Any], thread_ids: Sequence[str]
) -> Mapping[str, str]:
    """See `AdminStore.thread_families`."""
    return dict(await fetch_rows(connection, "families", ids=list(thread_ids)))


async def import_records(
    connection: Connection[Any], owner: str, batch: ImportBatch, now: int | None
) -> None:
    """See `AdminStore.import_records`."""
    read_at = await fetch_value(connection, "now", now=now)
    if batch.events:
        await make_parts(connection, read_at // DAY_MS)
    try:
        async with connection.transaction():
            await _insert(connection, owner, batch, read_at)
    except asyncpg.UniqueViolationError as fault:
        raise invariants.taken_meanwhile(f"record ({fault.constraint_name})") from fault


async def _insert(connection: Connection[Any], owner: str, batch: ImportBatch, now: int) -> None:
    await _many(
        connection,
        "add_assistant",
        ({"id": each.id, "owner": owner, "doc": _encode(each)} for each in batch.assistants),
    )
    for upload, content in batch.uploads:
        values = {"id": upload.id, "owner": owner, "doc": _encode(upload)}
        await execute(connection, "add_upload", content=content, **values)
    await _many(
        connection,
        "import_thread",
        (
            {
                "id": thread.id,
                "owner": owner,
                "version": thread.version,
                "parent_id": thread.parent_id,
                "words": invariants.fold_case(thread.title).encode(),
                "doc": _encode(thread),
                "family": family,
            }
            for thread, family in batch.threads
        ),
    )
    await _many(
        connection,
        "import_message",
        (
            {
                "thread_id": each.thread_id,
                **dict(zip(_MESSAGE, message_row(each), strict=True)),
            }
            for each in batch.messages
        ),
    )
    await _seal(connection, batch.messages)
    runs = ({"now": now, **_run_columns(owner, each)} for each in batch.runs)
    await _many(connection, "import_run", runs)
    await _many(
        connection,
        "import_events",
        (
            {
                "run_id": each.run_id,
                "first": each.first,
                "last": each.last,
                "lines": b"\n".join(each.lines),
            }
            for each in batch.events
        ),
    )
    await _many(
        connection,
        "import_action",
        (
            {
                "id": each.id,
                "run_id": each.run_id,
                "turn": each.turn,
                "tool_call_id": each.tool_call_id,
                "status": each.status,
                "doc": _encode(each),
            }
            for each in batch.actions
        ),
    )


async def _seal(connection: Connection[Any], messages: Sequence[Message]) -> None:
    """Join the chat of many messages for good, as far as they are all there."""
    ids = list({message.thread_id for message in messages})
    for doc, changes in await fetch_rows(connection, "threads_to_seal", ids=ids):
        thread = decoder(Thread)(doc)
        if thread.messages >= 2 * SEGMENT:
            values = {"length": SEGMENT, "messages": thread.messages, "changes": changes}
            await execute(connection, "seal", thread_id=thread.id, **values)


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


async def transfer_owned(connection: Connection[Any], owner: str, to: str, limit: int) -> int:
    """See `AdminStore.transfer_owned`."""
    for name in ("transfer_assistants", "transfer_uploads", "transfer_threads"):
        if given := await fetch_value(connection, name, owner=owner, to=to, limit=limit):
            return int(given)
    return 0


async def finish_import(
    connection: Connection[Any],
    usage: Sequence[UsageRow],
    entries: Sequence[AuditEntry],
    entry: AuditEntry | None,
) -> None:
    """See `AdminStore.finish_import`."""
    async with connection.transaction():
        await _many(connection, "import_spent", map(asdict, usage))
        await _many(
            connection,
            "import_act",
            ({"id": each.id, "owner": each.owner, "doc": _encode(each)} for each in entries),
        )
        await append_audit_entry(connection, entry)


async def _many(
    connection: Connection[Any], name: str, records: Iterable[Mapping[str, Any]]
) -> None:
    statement = SQL[name]
    if values := [statement.values(each) for each in records]:
        await connection.executemany(statement.sql, values)
