"""Administration in SQLite: its transaction, and what it does otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import msgspec

from antiphon.engine.text_search import join_words
from antiphon.ports import RecordPage
from antiphon.stores import admin_rules, invariants, sql_admin, sql_chat_imports
from antiphon.stores.rows import decoder, message_columns, take_page
from antiphon.stores.sql_transaction import Columns, UniqueViolation
from antiphon.stores.sqlite import reads, text_index, writes
from antiphon.stores.sqlite.reads import SQL
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.documents import DocumentPage
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Run

T = TypeVar("T")


class SqliteTransaction:
    """See `sql_transaction.Transaction`; the writer's transaction, or a connection that reads."""

    among = "IN (SELECT value FROM json_each(:ids))"

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.connection = connection
        self._now = now

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the function to its end, in this thread."""
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise RuntimeError("A function of a transaction has awaited something else.")

    async def now(self) -> int:
        """See `Transaction.now`: the time when the transaction was requested."""
        return self._now

    async def fetch(self, statement: str, **values: Any) -> Sequence[Any]:
        """See `Transaction.fetch`."""
        sql = SQL.get(statement, statement)
        return self.connection.execute(sql, {"now": self._now, **values}).fetchall()

    async def fetch_row(self, name: str, **values: Any) -> Any:
        """See `Transaction.fetch_row`."""
        return self.connection.execute(SQL[name], {"now": self._now, **values}).fetchone()

    async def execute(self, name: str, **values: Any) -> int:
        """See `Transaction.execute`."""
        try:
            return self.connection.execute(SQL[name], values).rowcount
        except sqlite3.IntegrityError as fault:
            raise UniqueViolation(str(fault)) from fault

    async def execute_many(self, name: str, rows: Iterable[Columns]) -> None:
        """See `Transaction.execute_many`."""
        try:
            self.connection.executemany(SQL[name], rows)
        except sqlite3.IntegrityError as fault:
            raise UniqueViolation(str(fault)) from fault

    async def add_upload(self, owner: str, upload: Upload, content: bytes) -> None:
        """See `Transaction.add_upload`."""
        doc = msgspec.json.encode(upload)
        await self.execute("add_upload", id=upload.id, owner=owner, doc=doc)
        self.connection.execute(SQL["add_content"], (upload.id, content))

    def array(self, texts: Sequence[str]) -> str:
        """See `Transaction.array`."""
        return msgspec.json.encode(texts).decode()

    async def add_messages(self, owner: str, messages: Sequence[Message]) -> None:
        """See `Transaction.add_messages`; indexed later, for an import changes the owner."""
        await self.execute_many("add_message", map(message_columns, messages))
        await self.execute_many("reindex_message", ({"id": each.id} for each in messages))

    async def add_pages(self, owner: str, upload_id: str, pages: Sequence[DocumentPage]) -> None:
        """See `Transaction.add_pages`."""
        text_index.add_pages(self.connection, owner, upload_id, pages)

    def title_columns(self, owner: str, title: str) -> Columns:
        """See `Transaction.title_columns`; triggers index the words."""
        return {"words": join_words(title)}


def live_runs(connection: sqlite3.Connection, limit: int, after: str | None) -> RecordPage:
    """See `AdminStore.live_runs`."""
    if after is not None and reads.find_run(connection, after) is None:
        raise invariants.not_found(Run, after)
    values = {"limit": limit + 1, "after": after}
    with closing(connection.execute(SQL["live_runs"], values)) as found:
        rows, more = take_page(found, limit, lambda row: len(row[1]))
    return RecordPage([(owner, decoder(Run)(doc)) for owner, doc in rows], more)


async def delete_owned(
    sql: SqliteTransaction, owner: str, limit: int, claim: ImportClaim | None
) -> int:
    """See `AdminStore.delete_owned`; deletes rows of the first kind that the owner has."""
    await sql_chat_imports.check_claim(sql, claim)
    writes.fold(sql.connection)  # so that events are in one table
    values = {"owner": owner, "limit": limit}
    for statement in _DELETIONS:
        if deleted := await sql.execute(statement, **values):
            return deleted
    deleted = await sql.execute("erase_counters", owner=owner)
    anonymize = admin_rules.anonymize_at(await sql.now())
    return deleted + await sql_admin.change_keys_of(sql, owner, anonymize)


_DELETIONS = (
    *("erase_events", "erase_actions", "erase_runs"),
    *("erase_segments", "erase_messages", "erase_threads"),
    *("erase_uploads", "erase_assistants", "erase_folders", "erase_answers"),
    *("erase_usage", "erase_provider_keys", "erase_webhooks", "erase_deliveries"),
    *("erase_schedules", "erase_occurrences", "erase_personal"),
    *("erase_import_pieces", "erase_chat_imports"),
)
"""Rows of many are deleted before the rows that they belong to, so that no step is large."""


async def import_records(
    sql: SqliteTransaction, owner: str, batch: ImportBatch, claim: ImportClaim | None
) -> None:
    """See `AdminStore.import_records`."""
    await sql_chat_imports.check_claim(sql, claim)
    await sql_admin.import_records(sql, owner, batch)
    added: dict[str, list[Message]] = {}
    for message in batch.messages:
        added.setdefault(message.thread_id, []).append(message)
    for thread_id, of_thread in added.items():
        found = reads.find_thread(sql.connection, thread_id)
        if found and found[1].messages >= 2 * writes.SEGMENT:
            writes.join_segments(sql.connection, of_thread, found[1])


async def transfer_owned(
    sql: SqliteTransaction, owner: str, to: str, limit: int, claim: ImportClaim | None
) -> int:
    """See `AdminStore.transfer_owned`."""
    await sql_chat_imports.check_claim(sql, claim)
    values = {"owner": owner, "to": to, "limit": limit}
    for name in ("transfer_assistants", "transfer_folders", "transfer_uploads"):
        if given := await sql.execute(name, **values):
            return given
    await sql.execute("transfer_runs", **values)
    return await sql.execute("transfer_threads", **values)
