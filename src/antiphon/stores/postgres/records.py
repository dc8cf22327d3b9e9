"""Assistants, folders, files and deletions in PostgreSQL, as functions of a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import msgspec
from asyncpg.connection import Connection
from msgspec.structs import replace

from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import Editable
from antiphon.stores import invariants
from antiphon.stores.postgres import reads
from antiphon.stores.postgres.connections import execute, fetch_value
from antiphon.stores.postgres.migrations import RUN_BITS
from antiphon.stores.rows import decoder
from antiphon.types.folders import Folder
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import Assistant, Thread

BATCH_SIZE = 500  # runs or answers deleted in one transaction, so that other writers get their turn

_encode = msgspec.json.encode


async def put(
    connection: Connection[Any],
    owner: str,
    record: Assistant | Folder | Upload,
    once: IdempotencyKey | None,
    content: bytes | None,
    now: int | None,
) -> Any:
    """See `RunStore.put`; a second request with one key returns the answer of the first."""
    if once and (answer := await reads.find_answer(connection, once)) is not None:
        return answer
    try:
        async with connection.transaction():
            if once:
                await _save_answer(connection, once, record, now)
            await _add(connection, owner, record, content)
    except asyncpg.UniqueViolationError as fault:
        if once and fault.constraint_name == "once_key":
            return await reads.find_answer(connection, once)
        raise invariants.duplicate_id(type(record), record.id) from fault
    return record


async def _save_answer(
    connection: Connection[Any],
    once: IdempotencyKey,
    record: Assistant | Folder | Upload,
    now: int | None,
) -> None:
    await execute(
        connection,
        "save_answer",
        once_owner=once.owner,
        once_route=once.route,
        once_key=once.key,
        digest=once.digest,
        answer=_encode(record),
        subject=record.id,
        now=now,
    )


async def _add(
    connection: Connection[Any],
    owner: str,
    record: Assistant | Folder | Upload,
    content: bytes | None,
) -> None:
    values: dict[str, Any] = {"id": record.id, "owner": owner, "doc": _encode(record)}
    if isinstance(record, Upload):
        await execute(connection, "add_upload", content=content, **values)
    elif isinstance(record, Folder):
        await execute(connection, "lock_folders")
        invariants.check_folder_count(await fetch_value(connection, "count_folders", owner=owner))
        await execute(connection, "add_folder", **values)
    else:
        await execute(connection, "add_assistant", **values)


async def update_record(
    connection: Connection[Any],
    kind: type[Editable],
    owner: str,
    id: str,
    change: Callable[[Editable], Editable],
) -> Editable:
    """See `RunStore.update_record`."""
    read, save = _UPDATES[kind]
    async with connection.transaction():
        doc = await fetch_value(connection, read, id=id, owner=owner)
        if doc is None:
            raise invariants.not_found(kind, id)
        changed = change(decoder(kind)(doc))
        await execute(connection, save, id=id, doc=_encode(changed))
    return changed


_UPDATES: Mapping[type[Any], tuple[str, str]] = {
    Assistant: ("assistant_for_update", "save_assistant"),
    Folder: ("folder_for_update", "save_folder"),
}


async def save_feedback(
    connection: Connection[Any], owner: str, message_id: str, feedback: Feedback | None
) -> Message:
    """See `RunStore.save_feedback`."""
    async with connection.transaction():
        doc = await fetch_value(connection, "message_for_update", id=message_id, owner=owner)
        if doc is None:
            raise invariants.not_found(Message, message_id)
        rated = replace(decoder(Message)(doc), feedback=feedback)
        await execute(connection, "save_message", id=message_id, doc=_encode(rated))
    return rated


async def delete(connection: Connection[Any], kind: type[Any], owner: str | None, id: str) -> None:
    """See `RunStore.delete`."""
    async with connection.transaction():
        if not await execute(connection, _REMOVALS[kind], id=id, owner=owner):
            raise invariants.not_found(kind, id)
        if kind is Thread:
            await delete_thread_contents(connection, id)
        await execute(connection, "clear_answers", id=id)


async def delete_thread_contents(connection: Connection[Any], thread_id: str) -> None:
    """Delete everything in a thread whose own row is deleted."""
    numbers = await fetch_value(connection, "remove_drives", id=thread_id)
    if numbers:
        await execute(connection, "drop_events", runs=numbers)
    for name in ("remove_actions", "remove_runs", "remove_segments", "remove_messages"):
        await execute(connection, name, id=thread_id)


_REMOVALS: Mapping[type[Any], str] = {
    Assistant: "remove_assistant",
    Folder: "remove_folder",
    Thread: "remove_thread",
    Upload: "remove_upload",
}


async def delete_events(connection: Connection[Any], before: int) -> int:
    """Delete the events of some runs that ended before this time (ms); return how many runs.

    The events can no longer be read. Their rows are deleted here only if the part of the log for
    their day has to stay; else they are dropped with that part.
    """
    async with connection.transaction():
        numbers = await fetch_value(connection, "expire_events", before=before, limit=BATCH_SIZE)
        days = list({number >> RUN_BITS for number in numbers})
        days_kept = await fetch_value(connection, "days_to_keep", days=days, before=before)
        if rows_of_kept := [number for number in numbers if number >> RUN_BITS in days_kept]:
            await execute(connection, "drop_events", runs=rows_of_kept)
    return len(numbers)


async def delete_answers(connection: Connection[Any], before: int) -> int:
    """Delete some answers stored before this time (ms); return how many."""
    return int(await fetch_value(connection, "expire_answers", before=before, limit=BATCH_SIZE))


async def get_or_add_meta(connection: Connection[Any], name: str, offered: bytes) -> bytes:
    """Return the value stored under the name; store `offered` if there is none."""
    await execute(connection, "add_meta", name=name, value=offered)
    return bytes(await fetch_value(connection, "meta", name=name))
