"""Store in one SQLite file, shared by any number of processes on this machine. The default.

All writes of a process go through one thread (`writer_thread`), which commits together what is
queued. Reads have connections of their own, see a snapshot, and never wait for a write. One
statement appends the events of many streams. The statements are in `sql/sqlite.sql`.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import msgspec

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import Claim, Committed, Decide, IdempotencyKey, ReadSet
from antiphon.engine.text_search import Phrase, TextMatches
from antiphon.engine.thread_order import list_start
from antiphon.ports import (
    BeforeCommit,
    Editable,
    FilterValue,
    FoundPage,
    OnCommit,
    RecordPage,
    TagUse,
)
from antiphon.stores import search_queue
from antiphon.stores.append_batcher import AppendBatcher, OnWritten, PendingAppend
from antiphon.stores.invariants import Clock, system_clock
from antiphon.stores.record_query import reads_documents
from antiphon.stores.search_queue import SearchQueue
from antiphon.stores.sql_admin import AdminMethods
from antiphon.stores.sql_chat_imports import ChatImportMethods
from antiphon.stores.sql_documents import DocumentMethods
from antiphon.stores.sql_personal import PersonalMethods
from antiphon.stores.sql_schedules import ScheduleMethods
from antiphon.stores.sql_shares import ShareMethods
from antiphon.stores.sql_transaction import Transaction
from antiphon.stores.sql_webhooks import WebhookMethods
from antiphon.stores.sqlite import admin, file, reads, text_index, writes
from antiphon.stores.sqlite.admin import SqliteTransaction
from antiphon.stores.sqlite.file import DatabaseFile, check_room, open_database, read_schema
from antiphon.stores.sqlite.reader_pool import ReaderPool
from antiphon.stores.sqlite.writer_thread import Write, WriterThread
from antiphon.stores.statements import SchemaVersion
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import Assistant, LeaseInfo, RunLease, Serves, serve_all

T = TypeVar("T")
P = ParamSpec("P")

READERS = 2  # threads for reads that use an index
MAX_FRESH_ROWS = 2_000  # appended by this process until they are folded: a few pages of an index
MAX_FRESH_BYTES = 1_000_000  # the same; a folded row is not much larger

OnForeignRuns = Callable[[Sequence[str]], None]


class SqliteStore(
    AdminMethods,
    WebhookMethods,
    ScheduleMethods,
    DocumentMethods,
    PersonalMethods,
    ShareMethods,
    ChatImportMethods,
):
    """A store in one file; create it with `open`, on the loop that will use it."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        clock: Clock,
        on_foreign: OnForeignRuns | None,
        listening: Callable[[], bool],
        fresh_rows: int,
        search_seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._writer_id = secrets.randbits(62)
        self._on_foreign = on_foreign
        self._seen_rows = reads.newest_rows(connection)
        self._file = file = DatabaseFile(path)
        self._writer = WriterThread(
            connection,
            writes.fold,
            self._report_foreign_runs if on_foreign else None,
            listening,
            file,
        )
        self._readers = ReaderPool(file, READERS, "antiphon sqlite reader")
        # A search reads everything an owner has; quick reads must not wait for it.
        self._searcher = ReaderPool(
            file, search_queue.MAX_CONCURRENT_SEARCHES, "antiphon sqlite search"
        )
        self._searches = SearchQueue(seconds=search_seconds)
        self._batcher = AppendBatcher(self._append)
        self._changed = False  # since the last claim
        self._most_fresh_rows = fresh_rows
        self._fresh_rows = self._fresh_bytes = 0

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        clock: Clock = system_clock,
        on_foreign: OnForeignRuns | None = None,
        listening: Callable[[], bool] = lambda: True,
        fresh_rows: int = MAX_FRESH_ROWS,
        search_seconds: float = search_queue.SEARCH_SECONDS,
    ) -> SqliteStore:
        """Open the file, create it if needed, and migrate it to this version's schema.

        `on_foreign` is called on the loop with the ids of runs to whose log another process has
        appended: at once while `listening()` is true, else within a quarter of a second.
        `listening` is called in another thread. `fresh_rows` rows are appended before they are
        folded into the log. A search may wait for `search_seconds`, and then take as long. Raises
        `BadSettings` for a file that this version cannot use.
        """
        connection = await asyncio.to_thread(open_database, Path(path), clock())
        return cls(Path(path), connection, clock, on_foreign, listening, fresh_rows, search_seconds)

    @staticmethod
    def schema(path: str | Path) -> SchemaVersion:
        """Return the schema versions of the file and of this program; changes nothing; blocks.

        Raises `BadSettings` for a file that is no database or cannot be read.
        """
        return read_schema(Path(path))

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`; `decide` runs in the writer's thread."""
        # Earlier appends are written before the change.
        if read_set.run_id is not None:
            self._batcher.flush_run(read_set.run_id)
        elif read_set.thread_id is not None:
            self._batcher.flush()
        work = partial(
            writes.change,
            read_set=read_set,
            decide=decide,
            now=self._clock(),
            writer=self._writer_id,
        )
        committed: Committed = await self._writer.run(
            read_set.what, work, before_commit=before_commit
        )
        self._changed = True
        return committed

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """See `RunStore.find_answer`."""
        return await self._read(reads.find_answer, once)

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """See `RunStore.claim`."""
        # A read is cheap, while a transaction of every idle worker is not. After a change of this
        # process there usually is a run to claim, and its first token waits for it.
        changed, self._changed = self._changed, False
        wanted = partial(reads.find_next_run, serves=serves, declined=declined)
        if not changed and await self._read(wanted) is None:
            return None
        work = writes.claim
        return await self._write("claim", work, wanted, decide, self._clock(), self._writer_id)

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """See `RunStore.find_unclaimed_runs`."""
        return await self._read(reads.find_unclaimed_runs, serves, wanted_before, limit)

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        return await self._write("beat", writes.renew_leases, epochs, self._clock() + lease_ms)

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """See `RunStore.append`."""
        self._batcher.add(run_id, epoch, first, lines, on_commit, urgent=urgent)

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """See `RunStore.overdue_runs`."""
        rows = await self._read(reads.fetch_all, "overdue_runs", self._clock(), limit)
        return [run_id for (run_id,) in rows]

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """See `RunStore.leases`."""
        rows = await self._read(reads.fetch_all, "leases", limit)
        return [LeaseInfo(*row) for row in rows]

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`; in steps of one transaction each."""
        dropped = 0
        while bite := await self._write(
            "forget", writes.delete_expired, events_before, keys_before
        ):
            dropped += bite
        return dropped

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`."""
        return await self._read(reads.read_events, run_id, after)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """See `RunStore.find_cached_events`; this store caches nothing."""
        return None

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """See `RunStore.context`; there is no cache to bypass."""
        return await self._read(reads.context, thread_id)

    async def thread_version(self, thread_id: str) -> int:
        """See `RunStore.thread_version`."""
        return await self._read(reads.thread_version, thread_id)

    async def run_lease(self, run_id: str) -> RunLease:
        """See `RunStore.run_lease`."""
        return await self._read(reads.run_lease, run_id)

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """See `RunStore.run_leases`."""
        return await self._read(reads.run_leases, run_ids)

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """See `RunStore.get`."""
        read = partial(reads.get, kind=kind, owner=owner, id=id)
        return await self._readers.run(read, owner=owner)

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """See `RunStore.call_ids`."""
        return await self._read(reads.call_ids, run_id)

    async def list(
        self,
        kind: type[Any],
        owner: str | None,
        *,
        limit: int,
        after: str | None = None,
        **where: FilterValue,
    ) -> RecordPage:
        """See `RunStore.list`; a search waits only for other searches."""
        start = list_start(after, where.get("order"))
        read = partial(
            reads.list_records, kind=kind, owner=owner, limit=limit, after=start, where=where
        )
        if not reads_documents(kind, where):
            return await self._readers.run(read, owner=owner)
        return await self._search(owner, read)

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """See `RunStore.count_tags`; it waits only for searches."""
        values = {"owner": owner, "after": after, "limit": limit}
        read = partial(reads.count_tags, values=values)
        return await self._search(owner, read)

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """See `RunStore.search`; a search waits only for other searches."""
        read = partial(text_index.search, owner=owner, phrases=phrases, limit=limit, before=before)
        return await self._search(owner, read)

    async def search_pages(
        self,
        owner: str,
        phrases: Sequence[Phrase],
        *,
        limit: int,
        file_ids: Sequence[str] | None = None,
        any_phrase: bool = False,
    ) -> Sequence[FoundPage]:
        """See `DocumentStore.search_pages`; it waits only for searches."""
        read = partial(
            text_index.search_pages,
            owner=owner,
            phrases=phrases,
            limit=limit,
            file_ids=file_ids,
            any_phrase=any_phrase,
        )
        return await self._search(owner, read)

    async def _search(self, owner: str | None, read: Callable[[sqlite3.Connection], T]) -> T:
        async with self._searches.turn(owner):
            try:
                return await self._searcher.run(read, self._searches.seconds)
            except TimeoutError as late:
                raise search_queue.search_timeout_error(self._searches.seconds) from late

    async def index_text(self) -> bool:
        """See `RunStore.index_text`."""
        if await self._read(reads.fetch_one, "has_text_to_index") is None:
            return False  # a read disturbs no other process
        return await self._write("index", text_index.update)

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """See `RunStore.content`."""
        read = partial(reads.content, owner=owner, upload_id=upload_id, start=start, size=size)
        return await self._readers.run(read, owner=owner)

    # Assistants, files and deletions

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """See `RunStore.put`."""
        return await self._write("put", writes.put, owner, record, once, content, self._clock())

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """See `RunStore.update_record`; `change` runs in the writer's thread."""
        return await self._write("put", writes.update_record, kind, owner, id, change)

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """See `RunStore.save_feedback`."""
        return await self._write("put", writes.save_feedback, owner, message_id, feedback)

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`."""
        await self._write("delete", writes.delete, kind, owner, id)

    # Administration; see `AdminMethods`

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """See `AdminStore.live_runs`."""
        return await self._read(admin.live_runs, limit, after)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`; at the end deleted text is overwritten in the file too."""
        erased = await self._transact("erase", admin.delete_owned, owner, limit, claim)
        if not erased:
            while await self._write("index", text_index.remove_deleted):
                pass
            while await self._write("index", text_index.compact):
                pass
            while await self._write("blank", file.overwrite_free_pages):
                pass
            while await self._write("blank", file.release_overwritten_pages):
                pass
            await self._writer.truncate_log()
        return erased

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """See `AdminStore.import_records`."""
        await self._transact("import", admin.import_records, owner, batch, claim)

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """See `AdminStore.transfer_owned`."""
        return await self._transact("transfer", admin.transfer_owned, owner, to, limit, claim)

    async def read_administration(
        self, work: Callable[[Transaction], Coroutine[Any, Any, T]], *, slow: bool
    ) -> T:
        """See `TransactionMethods.read_administration`; slow ones run in the thread of searches."""
        now = self._clock()

        def read(connection: sqlite3.Connection) -> T:
            sql = SqliteTransaction(connection, now)
            return sql.run(work(sql))

        return await (self._searcher if slow else self._readers).run(read)

    async def write_administration(
        self,
        what: str,
        work: Callable[[Transaction], Coroutine[Any, Any, T]],
        *,
        slow: bool,
        single: bool,
    ) -> T:
        """See `TransactionMethods.write_administration`; runs in the writer's thread."""
        return await self._transact(what, work)

    async def _transact(
        self,
        what: str,
        work: Callable[Concatenate[SqliteTransaction, P], Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        now = self._clock()

        def write(connection: sqlite3.Connection) -> T:
            sql = SqliteTransaction(connection, now)
            return sql.run(work(sql, *args, **kwargs))

        return await self._write(what, write)

    # The installation

    async def installation_secret(self) -> bytes:
        """See `AdminStore.installation_secret`."""
        return await self._write("key", writes.get_or_add_meta, "secret", secrets.token_bytes(32))

    async def now(self) -> int:
        """See `RunStore.now`: the machine's clock, which all users of the file share."""
        return self._clock()

    async def check(self) -> None:
        """See `Store.check`; checks the free room, then writes and reads a row."""
        await asyncio.to_thread(check_room, self._file.path)
        await self._write("check", writes.save_meta, "checked_at", self._clock())
        await self._read(reads.fetch_one, "meta", "checked_at")

    async def close(self) -> None:
        """Finish what was requested and close the file."""
        self._batcher.flush()
        await self._writer.close()
        await self._readers.close()
        await self._searcher.close()

    async def _write(
        self,
        what: str,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def write(connection: sqlite3.Connection) -> T:
            return work(connection, *args, **kwargs)

        return cast("T", await self._writer.run(what, write, relaxed=what in _RELAXED))

    def _append(self, batch: Sequence[PendingAppend], settle: OnWritten) -> None:
        work = partial(writes.append, appended=batch, writer=self._writer_id)
        self._writer.submit(Write("append", work, settle, relaxed=True))
        self._fresh_rows += len(batch)
        self._fresh_bytes += sum(each.size for each in batch)
        if self._fresh_rows >= self._most_fresh_rows or self._fresh_bytes > MAX_FRESH_BYTES:
            self._fresh_rows = self._fresh_bytes = 0
            self._writer.submit(Write("fold", writes.fold, _ignore_result, relaxed=True))

    async def _read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def read(connection: sqlite3.Connection) -> T:
            return work(connection, *args, **kwargs)

        return await self._readers.run(read)

    def _report_foreign_runs(self, connection: sqlite3.Connection) -> None:
        """Report runs to which another process has appended; runs in the writer's thread."""
        # Rows added meanwhile may be reported twice, but are not missed.
        newest = reads.newest_rows(connection)
        run_ids = reads.foreign_runs(connection, self._seen_rows, self._writer_id)
        self._seen_rows = newest
        if run_ids and self._on_foreign:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._on_foreign, run_ids)


_RELAXED = frozenset({"claim", "beat", "count"})


def _ignore_result(_: Any, fault: Exception | None) -> None:
    """Ignore the result of a fold: a later fold retries a failed one."""
