"""Servers with deliberate bugs, which the checks must find.

`main` does what `antiphon serve` does, with a store that has the bug which the variable BUG names.
The bugs are classic ones, each in a few lines.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.buses.local import LocalBus
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, Decide, ReadSet, Snapshot
from antiphon.ports import BeforeCommit, OnCommit
from antiphon.providers.catalog import Catalog
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import run_server
from antiphon.settings import loading
from antiphon.settings.settings import Settings, database_file
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.invariants import system_clock
from antiphon.stores.sqlite import reads
from antiphon.stores.sqlite.file import transaction
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.stores.sqlite.writer_thread import OnDone, Write, WriterThread
from antiphon.telemetry import failpoints
from antiphon.types import events
from antiphon.types.runs import Serves, serve_all

WINDOW_SECONDS = 0.02


class AcknowledgesEarly(SqliteStore):
    """Reports that a change is stored, and stores it a little later: write-behind."""

    @classmethod
    async def open(cls, *args: Any, **options: Any) -> AcknowledgesEarly:
        store = await super().open(*args, **options)
        store._writer.__class__ = _EarlyWriter  # its thread runs already
        return store


class _EarlyWriter(WriterThread):
    def _transact(self, operations: Sequence[Write]) -> list[tuple[OnDone, Any, Exception | None]]:
        with transaction(self._connection):
            outcomes = [self._run_in_savepoint(operation) for operation in operations]
            self._loop.call_soon_threadsafe(_settle_all, outcomes)
            time.sleep(WINDOW_SECONDS)
            for operation in operations:
                failpoints.hit(f"{operation.name}.before_commit")
        return []


def _settle_all(outcomes: Sequence[tuple[OnDone, Any, Exception | None]]) -> None:
    for settle, result, fault in outcomes:
        settle(result, fault)


class KeepsKeysApart(SqliteStore):
    """Has no unique constraints on messages, and stores in a second step what detects retries.

    It stores the message first, and then the action with its output, or the idempotency key.
    """

    @classmethod
    async def open(cls, path: Path, **options: Any) -> KeepsKeysApart:
        store = await super().open(path, **options)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (table_sql,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = 'messages'"
            ).fetchone()
            if "UNIQUE" in table_sql:
                loose_sql = table_sql.replace(",\n    UNIQUE (thread_id, number)", "").replace(
                    "UNIQUE", ""
                )
                connection.execute("DROP TABLE messages")
                connection.execute(loose_sql)
            connection.execute("COMMIT")
        return store

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if read_set.what not in ("message", "output"):
            return await super().change(read_set, decide, before_commit)
        changes: list[ChangeSet] = []

        def decide_message(records: Snapshot) -> ChangeSet | None:
            change = decide(records)
            if change is None:
                return None
            changes.append(change)
            return replace(change, run_updates=(), actions=())

        def decide_rest(_: Snapshot) -> ChangeSet | None:
            return replace(changes[-1], thread=None, messages=()) if changes else None

        if read_set.idempotency_key and (
            answer := await self._read(_find_answer, read_set.idempotency_key)
        ):
            return Committed(answer)
        await super().change(replace(read_set, idempotency_key=None), decide_message)
        await asyncio.sleep(WINDOW_SECONDS)
        return await super().change(read_set, decide_rest)


def _find_answer(connection: sqlite3.Connection, once: Any) -> msgspec.Raw | None:
    row = reads.fetch_one(connection, "answer", once.owner, once.route, once.key)
    return msgspec.Raw(row[1]) if row else None


class ClaimsCarelessly(SqliteStore):
    """Looks for a free run and claims it in two steps."""

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        run_id = await self._read(reads.find_next_run, serves, declined)
        if run_id is None:
            return None
        read_set, now = ReadSet(owner=None, run_id=run_id), system_clock()
        records, _ = await self._read(reads.read_records, read_set, now)
        change = decide(records)
        if change is None:
            return None
        await asyncio.sleep(WINDOW_SECONDS)
        await self._write("claim", _write_claim, change, self._writer_id)
        return Claim("local", change.run_updates[0].run, change.run_updates[0].lease)


def _write_claim(connection: sqlite3.Connection, change: ChangeSet, writer: int) -> None:
    (update,) = change.run_updates
    run, lease = update.run, update.lease
    connection.execute(
        "UPDATE runs SET status = ?, epoch = ?, worker = ?, due_at = ?, last_event = ?, doc = ? "
        "WHERE id = ?",
        (
            *(run.status.value, lease.epoch, lease.worker, lease.due_at, lease.last_event),
            *(msgspec.json.encode(run), run.id),
        ),
    )
    lines = b"\n".join(map(events.encode, update.events))
    first = lease.last_event - len(update.events) + 1
    connection.execute(
        "INSERT OR IGNORE INTO fresh (run, first, last, writer, lines) "
        "SELECT seq, ?, ?, ?, ? FROM runs WHERE id = ?",
        (first, lease.last_event, writer, lines, run.id),
    )


class TellsBeforeItKeeps(CachedStore):
    """Shows an event to readers of this process while it is still being written."""

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
        self._tails.extend(run_id, first, lines, ended=False)
        super().append(run_id, epoch, first, lines, on_commit, urgent=urgent)


class SendsBeforeTheCommit(CachedStore):
    """Treats an event that is queued for the writer as stored, and sends it at once.

    It goes directly to the connections of waiting readers, without a task in between.
    """

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
        super().append(run_id, epoch, first, lines, _ignore_outcome, urgent=urgent)
        self._tails.extend(run_id, first, lines, ended=False)
        asyncio.get_running_loop().call_soon(on_commit, None)


def _ignore_outcome(_: Exception | None) -> None:
    """Do nothing: the event was already sent."""


BUGS: dict[str, tuple[type[SqliteStore], type[CachedStore]]] = {
    "acknowledges early": (AcknowledgesEarly, CachedStore),
    "keeps keys apart": (KeepsKeysApart, CachedStore),
    "claims carelessly": (ClaimsCarelessly, CachedStore),
    "tells before it keeps": (SqliteStore, TellsBeforeItKeeps),
    "sends before the commit": (SqliteStore, SendsBeforeTheCommit),
}


def main(_: Sequence[str]) -> int:
    """Serve with the bug until SIGTERM."""
    failpoints.arm(os.environ.get("FAILPOINTS", ""))
    asyncio.run(_serve(loading.load({"port": "0"}, os.environ, Path.cwd())))
    return 0


async def _serve(settings: Settings) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stopped.set)
    async with run_server(settings, _open_runtime) as url:
        print(f"listening on {url}", file=sys.stderr, flush=True)
        asyncio.get_running_loop().add_signal_handler(15, stopped.set)
        await stopped.wait()


@asynccontextmanager
async def _open_runtime(settings: Settings) -> AsyncGenerator[Runtime]:
    """Open a runtime with the store that has the bug."""
    runtimes: list[Runtime] = []

    def on_external_change(run_ids: Sequence[str]) -> None:
        for runtime in runtimes:
            runtime.on_external_change(run_ids)

    file = database_file(settings)
    assert file
    store_class, cache_class = BUGS[os.environ["BUG"]]
    store = cache_class(await store_class.open(file, on_foreign=on_external_change))
    runtime = Runtime(settings, store, LocalBus(), Catalog(settings, os.environ))
    runtimes.append(runtime)
    runtime.worker.start()
    try:
        yield runtime
    finally:
        await runtime.drain(1)
        await store.close()
