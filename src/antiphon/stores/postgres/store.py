"""Store in PostgreSQL, shared by any number of processes on any machines.

A change is read in one round trip, decided on the loop, and written by one statement, which writes
nothing if the records have changed meanwhile; then it is decided again. The read is left out where
the records are known (see `known_records`). One statement writes many changes, and one appends the
events of many streams (see `group_commit`). Time is the database's. The statements are in
`sql/postgres.sql`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from asyncpg.connection import Connection
from msgspec.structs import replace

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    Decide,
    IdempotencyKey,
    ReadSet,
    Snapshot,
)
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
from antiphon.stores.invariants import Clock
from antiphon.stores.postgres import admin, reads, records, text_index
from antiphon.stores.postgres.admin import PostgresTransaction
from antiphon.stores.postgres.appends import PostgresAppender
from antiphon.stores.postgres.change_writer import ChangeWriter
from antiphon.stores.postgres.changes import WriteAttempt, claim
from antiphon.stores.postgres.connections import (
    DEFAULT_TIMEOUTS,
    ConnectionPool,
    PoolTimeouts,
    execute,
    fetch_rows,
    fetch_value,
)
from antiphon.stores.postgres.known_records import KnownRecords
from antiphon.stores.postgres.migrations import DAY_MS, drop_parts, make_parts, prepare, schema
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
from antiphon.stores.statements import SchemaVersion
from antiphon.telemetry.failpoints import hit
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.personal import PersonalRecord
from antiphon.types.runs import Assistant, LeaseInfo, RunLease, Serves, serve_all

T = TypeVar("T")
P = ParamSpec("P")

CONNECTIONS = 10
MAINTENANCE_SECONDS = 30.0  # for deletions and counts, which may read many rows
MIGRATION_SECONDS = 3600.0
START_SECONDS = 5.0  # for a server that starts at the same time, or restarts
CACHED_RUN_NUMBERS = 20_000  # numbers of runs in the log


class PostgresStore(
    AdminMethods,
    WebhookMethods,
    ScheduleMethods,
    DocumentMethods,
    PersonalMethods,
    ShareMethods,
    ChatImportMethods,
):
    """A store in one database; create it with `open`, on the loop that will use it."""

    def __init__(
        self, connections: ConnectionPool, clock: Clock | None, search_seconds: float
    ) -> None:
        self._connections = connections
        self._searches = SearchQueue(seconds=search_seconds)
        self._clock = clock
        self._known = KnownRecords(clock)
        self._appender = PostgresAppender(connections, self._known)
        self._changes = ChangeWriter(connections, self._known)
        self._numbers: OrderedDict[str, int] = OrderedDict()

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        connections: int = CONNECTIONS,
        all_migrations: bool = False,
        search_seconds: float = search_queue.SEARCH_SECONDS,
        timeouts: PoolTimeouts = DEFAULT_TIMEOUTS,
    ) -> PostgresStore:
        """Connect to the database and migrate it to this version.

        Migrations that take long on a database in use run only with `all_migrations`. `clock`
        replaces the database's own. Raises `BadSettings` for a database that this version cannot
        use, and `Unavailable`.
        """
        pool = ConnectionPool(address, connections, timeouts)
        now = clock() if clock else None
        async with AsyncExitStack() as undo:
            undo.push_async_callback(pool.close)
            await pool.run(_check_connection, START_SECONDS, _always)
            await pool.run(
                partial(_prepare_schema, now=now, all_migrations=all_migrations), MIGRATION_SECONDS
            )
            undo.pop_all()
        return cls(pool, clock, search_seconds)

    @staticmethod
    async def schema(address: str) -> SchemaVersion:
        """Return the schema versions of the database and of this program; changes nothing.

        Raises `BadSettings` and `Unavailable`.
        """
        pool = ConnectionPool(address, 1)
        try:
            return await pool.run(schema)
        finally:
            await pool.close()

    def connections(self) -> Mapping[str, int]:
        """Count the connections of this process by state."""
        return self._connections.count_by_state()

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`; `decide` runs on the loop, again after each lost race.

        `before_commit` is not called: a statement that is on its way may still lose a race.
        """
        if read_set.run_id is not None:
            await self._appender.flush_run(read_set.run_id)
        if read_set.personal and read_set.owner is not None:
            # Read before, as a change of a new thread needs no other read.
            personal = await self.personal(read_set.owner)
            read_set = replace(read_set, personal=False)
            decide = partial(_decide_with_personal, decide, personal)
        return await self._changes.change(read_set, decide)

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
        attempt = WriteAttempt()
        return await self._connections.run(
            lambda connection: claim(connection, decide, serves, declined, self._known, attempt),
            repeatable=lambda: attempt.repeatable,
        )

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """See `RunStore.find_unclaimed_runs`."""
        waiting = await self._read(fetch_rows, "destinations")
        found = await self._read(
            fetch_rows,
            "unclaimed",
            destinations=[text for (text,) in waiting if serves(text)],
            wanted_before=wanted_before,
            limit=limit,
        )
        return [run_id for (run_id,) in found]

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        hit("beat.before_commit")
        kept = await self._run(
            fetch_rows,
            "renew_leases",
            run_ids=list(epochs),
            epochs=list(epochs.values()),
            lease_ms=lease_ms,
            now=self._now(),
        )
        hit("beat.after_commit")
        due_at: dict[str, int] = dict(kept)
        self._known.renew_leases(epochs, due_at)
        return frozenset(epochs) - due_at.keys()

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
        self._appender.add(run_id, epoch, first, lines, on_commit, urgent=urgent)

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """See `RunStore.overdue_runs`."""
        return [
            run_id
            for (run_id,) in await self._read(
                fetch_rows, "overdue_runs", now=self._now(), limit=limit
            )
        ]

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """See `RunStore.leases`."""
        return [LeaseInfo(*each) for each in await self._read(fetch_rows, "leases", limit=limit)]

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`; in steps of one transaction each, or whole days."""
        hit("forget.before_commit")
        dropped = 0
        while bite := await self._run(
            records.delete_events, events_before, seconds=MAINTENANCE_SECONDS
        ):
            dropped += bite
        while bite := await self._run(
            records.delete_answers, keys_before, seconds=MAINTENANCE_SECONDS
        ):
            dropped += bite
        await self._make_parts()
        await self._run(drop_parts, events_before, seconds=MAINTENANCE_SECONDS)
        hit("forget.after_commit")
        return dropped

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`."""
        number = self._numbers.get(run_id)
        if number is not None:
            with suppress(NotFound):  # deleted; an import may have brought it back
                return await self._read(reads.read_events, run_id, number, after)
        number = await self._read(reads.run_number, run_id)
        self._numbers[run_id] = number
        if len(self._numbers) > CACHED_RUN_NUMBERS:
            self._numbers.popitem(last=False)
        return await self._read(reads.read_events, run_id, number, after)

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
        return await self._read(reads.get, kind, owner, id)

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
        """See `RunStore.list`; a search has a longer timeout."""
        start = list_start(after, where.get("order"))
        read = partial(
            reads.list_records, kind=kind, owner=owner, limit=limit, after=start, where=where
        )
        if not reads_documents(kind, where):
            return await self._read_within(read)
        return await self._search(owner, read)

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """See `RunStore.count_tags`."""
        read = partial(reads.count_tags, owner=owner, limit=limit, after=after)
        return await self._search(owner, read)

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """See `RunStore.search`."""
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
        """See `DocumentStore.search_pages`."""
        read = partial(
            text_index.search_pages,
            owner=owner,
            phrases=phrases,
            limit=limit,
            file_ids=file_ids,
            any_phrase=any_phrase,
        )
        return await self._search(owner, read)

    async def _search(self, owner: str | None, read: Callable[..., Awaitable[T]]) -> T:
        seconds = self._searches.seconds
        async with self._searches.turn(owner):
            # PostgreSQL is asked to cancel the query; if that fails, the connection is closed.
            within = seconds + self._connections.timeouts.call
            return await self._read_within(partial(read, seconds=seconds), within)

    async def index_text(self) -> bool:
        """See `RunStore.index_text`."""
        return await self._write("index", text_index.update, seconds=MAINTENANCE_SECONDS)

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """See `RunStore.content`."""
        return await self._read(reads.content, owner, upload_id, start, size)

    # Assistants, files and deletions

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """See `RunStore.put`."""
        return await self._write("put", records.put, owner, record, once, content, self._now())

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """See `RunStore.update_record`; `change` runs on the loop."""
        return await self._write("put", records.update_record, kind, owner, id, change)

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """See `RunStore.save_feedback`."""
        return await self._write("put", records.save_feedback, owner, message_id, feedback)

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`."""
        await self._write("delete", records.delete, kind, owner, id, seconds=MAINTENANCE_SECONDS)

    # Administration; see `AdminMethods`

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """See `AdminStore.live_runs`."""
        return await self._read(admin.live_runs, limit, after)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`; a vacuum of PostgreSQL frees the deleted rows."""
        return await self._transact("erase", admin.delete_owned, owner, limit, claim)

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """See `AdminStore.import_records`."""
        if batch.events:
            await self._make_parts()
        await self._transact("import", admin.import_records, owner, batch, claim)

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """See `AdminStore.transfer_owned`."""
        return await self._transact("transfer", admin.transfer_owned, owner, to, limit, claim)

    async def read_administration(
        self, work: Callable[[Transaction], Coroutine[Any, Any, T]], *, slow: bool
    ) -> T:
        """See `TransactionMethods.read_administration`."""
        return await self._read_within(
            lambda connection: work(PostgresTransaction(connection, self._now())),
            MAINTENANCE_SECONDS if slow else None,
        )

    async def write_administration(
        self,
        what: str,
        work: Callable[[Transaction], Coroutine[Any, Any, T]],
        *,
        slow: bool,
        single: bool,
    ) -> T:
        """See `TransactionMethods.write_administration`; runs on the loop."""
        seconds = MAINTENANCE_SECONDS if slow else None
        if not single:
            return await self._transact(what, work, seconds=seconds)

        async def write(connection: Connection[Any]) -> T:
            return await work(PostgresTransaction(connection, self._now()))

        return await self._write(what, write, seconds=seconds)

    async def _transact(
        self,
        what: str,
        work: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        seconds: float | None = MAINTENANCE_SECONDS,
    ) -> T:
        async def write(connection: Connection[Any]) -> T:
            async with connection.transaction():
                return await work(PostgresTransaction(connection, self._now()), *args)

        return await self._write(what, write, seconds=seconds)

    # The installation

    async def installation_secret(self) -> bytes:
        """See `AdminStore.installation_secret`."""
        return await self._write("key", records.get_or_add_meta, "secret", secrets.token_bytes(32))

    async def now(self) -> int:
        """See `RunStore.now`: the database's clock."""
        return int(await self._read(fetch_value, "now", now=self._now()))

    async def check(self) -> None:
        """See `Store.check`; writes a row."""
        await self._write("check", execute, "check")

    async def close(self) -> None:
        """Finish running calls and close the connections."""
        await self._appender.flush()
        await self._changes.flush()
        await self._connections.close()

    # Helpers

    def _now(self) -> int | None:
        """Return the time of `clock`, None for the database's own."""
        return self._clock() if self._clock else None

    async def _read(
        self,
        work: Callable[Concatenate[Connection[Any], P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._read_within(lambda connection: work(connection, *args, **kwargs))

    async def _read_within(
        self, work: Callable[[Connection[Any]], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """Read; a value that no column can hold, such as a NUL in an id, is not found."""
        try:
            return await self._connections.run(work, seconds, _always)
        except InvalidRequest as fault:
            raise NotFound("There is nothing of this name.") from fault

    async def _write(
        self,
        what: str,
        work: Callable[..., Awaitable[T]],
        *args: Any,
        seconds: float | None = None,
        **kwargs: Any,
    ) -> T:
        hit(f"{what}.before_commit")
        answer = await self._run(work, *args, seconds=seconds, **kwargs)
        hit(f"{what}.after_commit")
        return answer

    async def _run(
        self,
        work: Callable[..., Awaitable[T]],
        *args: Any,
        seconds: float | None = None,
        **kwargs: Any,
    ) -> T:
        return await self._connections.run(
            lambda connection: work(connection, *args, **kwargs), seconds
        )

    async def _make_parts(self) -> None:
        now = await self.now()
        await self._run(make_parts, now // DAY_MS, seconds=MAINTENANCE_SECONDS)


async def _prepare_schema(
    connection: Connection[Any], now: int | None, *, all_migrations: bool
) -> None:
    today = await fetch_value(connection, "now", now=now) // DAY_MS
    await prepare(connection, today, all_migrations=all_migrations)


def _decide_with_personal(
    decide: Decide, personal: PersonalRecord, records: Snapshot
) -> ChangeSet | None:
    return decide(replace(records, personal=personal))


async def _check_connection(connection: Connection[Any]) -> None:
    await fetch_value(connection, "now", now=None)


def _always() -> bool:
    return True
