"""Administration in PostgreSQL: its transaction, and what it does otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg.connection import Connection

from antiphon.engine.text_search import join_words
from antiphon.ports import RecordPage
from antiphon.stores import admin_rules, invariants, sql_admin, sql_chat_imports
from antiphon.stores.postgres import text_index
from antiphon.stores.postgres.changes import SEGMENT
from antiphon.stores.postgres.connections import (
    SQL,
    execute,
    fetch_row,
    fetch_rows,
    fetch_value,
    number_parameters,
)
from antiphon.stores.postgres.reads import owner_word
from antiphon.stores.postgres.records import delete_thread_contents
from antiphon.stores.postgres.text_index import encode_vector
from antiphon.stores.rows import LIST_PAGE_BYTES, decoder, message_columns
from antiphon.stores.sql_transaction import Columns, UniqueViolation
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.documents import DocumentPage
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Run, Thread

MAX_DELETED_RUNS = 200  # in one transaction, with all their events


class PostgresTransaction:
    """See `sql_transaction.Transaction`; `now` replaces the database's clock."""

    among = "= ANY (:ids::text[])"

    def __init__(self, connection: Connection[Any], now: int | None) -> None:
        self.connection = connection
        self._now = now

    async def now(self) -> int:
        """See `Transaction.now`: the database's clock."""
        return int(await fetch_value(self.connection, "now", now=self._now))

    async def fetch(self, statement: str, **values: Any) -> Sequence[Any]:
        """See `Transaction.fetch`."""
        sql = SQL.get(statement) or number_parameters(statement)
        return await self.connection.fetch(sql.sql, *sql.values({"now": self._now, **values}))

    async def fetch_row(self, name: str, **values: Any) -> Any:
        """See `Transaction.fetch_row`."""
        return await fetch_row(self.connection, SQL[name], **{"now": self._now, **values})

    async def execute(self, name: str, **values: Any) -> int:
        """See `Transaction.execute`."""
        try:
            return await execute(self.connection, name, **values)
        except asyncpg.UniqueViolationError as fault:
            raise UniqueViolation(fault.constraint_name) from fault

    async def execute_many(self, name: str, rows: Iterable[Columns]) -> None:
        """See `Transaction.execute_many`."""
        statement = SQL[name]
        try:
            if values := [statement.values(each) for each in rows]:
                await self.connection.executemany(statement.sql, values)
        except asyncpg.UniqueViolationError as fault:
            raise UniqueViolation(fault.constraint_name) from fault

    async def add_upload(self, owner: str, upload: Upload, content: bytes) -> None:
        """See `Transaction.add_upload`."""
        doc = msgspec.json.encode(upload)
        await self.execute("add_upload", id=upload.id, owner=owner, doc=doc, content=content)

    def array(self, texts: Sequence[str]) -> list[str]:
        """See `Transaction.array`."""
        return list(texts)

    async def add_messages(self, owner: str, messages: Sequence[Message]) -> None:
        """See `Transaction.add_messages`."""
        await self.execute_many(
            "add_message",
            (
                message_columns(each) | {"search": encode_vector(owner, each.full_text)}
                for each in messages
            ),
        )

    async def add_pages(self, owner: str, upload_id: str, pages: Sequence[DocumentPage]) -> None:
        """See `Transaction.add_pages`."""
        await text_index.add_pages(self.connection, owner, upload_id, pages)

    def title_columns(self, owner: str, title: str) -> Columns:
        """See `Transaction.title_columns`."""
        return {"words": join_words(title).encode(), "search": encode_vector(owner, title)}


async def live_runs(connection: Connection[Any], limit: int, after: str | None) -> RecordPage:
    """See `AdminStore.live_runs`."""
    if after is not None and await fetch_value(connection, "run_number", run_id=after) is None:
        raise invariants.not_found(Run, after)
    found = await fetch_rows(
        connection, "live_runs", limit=limit + 1, after=after, cap=LIST_PAGE_BYTES
    )
    live = [(owner, decoder(Run)(doc)) for owner, doc, _ in found[:limit]]
    return RecordPage(live, bool(found) and found[0][2] > len(live))


async def delete_owned(
    sql: PostgresTransaction, owner: str, limit: int, claim: ImportClaim | None
) -> int:
    """See `AdminStore.delete_owned`; deletes rows of the first kind that the owner has."""
    await sql_chat_imports.check_claim(sql, claim)
    connection = sql.connection
    numbers = await fetch_value(
        connection, "runs_to_erase", owner=owner, limit=min(limit, MAX_DELETED_RUNS)
    )
    if numbers:  # leases first, so that no event is added meanwhile
        for name in ("drop_drives", "drop_events", "drop_actions", "drop_runs"):
            await execute(connection, name, runs=numbers)
        return len(numbers)
    if threads := await fetch_value(connection, "threads_to_erase", owner=owner):
        # Threads are deleted once they have no messages.
        if deleted := await sql.execute("erase_messages", threads=threads, limit=limit):
            return deleted
        for thread_id in threads[:limit]:
            await execute(connection, "remove_thread", id=thread_id, owner=owner)
            await delete_thread_contents(connection, thread_id)
        return len(threads[:limit])
    for name in _DELETIONS:
        if deleted := await sql.execute(name, owner=owner, limit=limit):
            return deleted
    deleted = await sql.execute("erase_counters", owner=owner)
    anonymize = admin_rules.anonymize_at(await sql.now())
    return deleted + await sql_admin.change_keys_of(sql, owner, anonymize)


_DELETIONS = (
    *("erase_uploads", "erase_assistants", "erase_folders", "erase_answers"),
    *("erase_usage", "erase_provider_keys", "erase_webhooks", "erase_deliveries"),
    *("erase_schedules", "erase_occurrences", "erase_personal"),
    *("erase_import_pieces", "erase_chat_imports"),
)


async def import_records(
    sql: PostgresTransaction, owner: str, batch: ImportBatch, claim: ImportClaim | None
) -> None:
    """See `AdminStore.import_records`; the parts of the log for today must exist."""
    await sql_chat_imports.check_claim(sql, claim)
    await sql_admin.import_records(sql, owner, batch)
    ids = list({message.thread_id for message in batch.messages})
    for doc, changes in await fetch_rows(sql.connection, "threads_to_join", ids=ids):
        thread = decoder(Thread)(doc)
        if thread.messages >= 2 * SEGMENT:
            values = {"length": SEGMENT, "messages": thread.messages, "changes": changes}
            await sql.execute("join_segment", thread_id=thread.id, **values)


async def transfer_owned(
    sql: PostgresTransaction, owner: str, to: str, limit: int, claim: ImportClaim | None
) -> int:
    """See `AdminStore.transfer_owned`."""
    await sql_chat_imports.check_claim(sql, claim)
    values = {"owner": owner, "to": to, "limit": limit}
    for name in ("transfer_assistants", "transfer_folders", "transfer_uploads"):
        if given := await sql.execute(name, **values):
            return given
    words = {"owner_word": owner_word(owner), "to_word": f"'{owner_word(to)}'"}
    return int(await fetch_value(sql.connection, "transfer_threads", **values, **words))
