"""Servers with a bug in them: whoever hunts for bugs must find these, or finds none.

`main` is what the command line does for `serve`, over a store that has the bug which the variable
BUG names. The bugs are the classics, each in a few lines.
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
    """Tells that something is kept, and keeps it a little later: write-behind."""

    @classmethod
    async def open(cls, *args: Any, **options: Any) -> AcknowledgesEarly:
        store = await super().open(*args, **options)
        store._writer.__class__ = _EarlyWriter  # its thread runs already
        return store


class _EarlyWriter(WriterThread):
    def _transact(self, operations: Sequence[Write]) -> list[tuple[OnDone, Any, Exception | None]]:
        with transaction(self._connection):
            outcomes = [self._run_in_savepoint(operation) for operation in operations]
            self._loop.call_soon_threadsafe(_tell, outcomes)
            time.sleep(WINDOW_SECONDS)
            for operation in operations:
                failpoints.hit(f"{operation.name}.before_commit")
        return []


def _tell(outcomes: Sequence[tuple[OnDone, Any, Exception | None]]) -> None:
    for settle, result, fault in outcomes:
        settle(result, fault)


class KeepsKeysApart(SqliteStore):
    """Nothing is unique in the history; what makes a second try harmless is kept in a second step.

    The message is kept first; the action that has its output, or the idempotency key, after it.
    """

    @classmethod
    async def open(cls, path: Path, **options: Any) -> KeepsKeysApart:
        store = await super().open(path, **options)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (made,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = 'messages'"
            ).fetchone()
            if "UNIQUE" in made:
                loose = made.replace(",\n    UNIQUE (thread_id, number)", "").replace("UNIQUE", "")
                connection.execute("DROP TABLE messages")
                connection.execute(loose)
            connection.execute("COMMIT")
        return store

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if about.what not in ("message", "output"):
            return await super().change(about, decide, before_commit)
        decided: list[ChangeSet] = []

        def message_alone(records: Snapshot) -> ChangeSet | None:
            change = decide(records)
            if change is None:
                return None
            decided.append(change)
            return replace(change, run_updates=(), actions=())

        def the_rest(_: Snapshot) -> ChangeSet | None:
            return replace(decided[-1], thread=None, messages=()) if decided else None

        if about.idempotency_key and (
            kept := await self._read(_find_answer, about.idempotency_key)
        ):
            return Committed(kept)
        await super().change(replace(about, idempotency_key=None), message_alone)
        await asyncio.sleep(WINDOW_SECONDS)
        return await super().change(about, the_rest)


def _find_answer(connection: sqlite3.Connection, once: Any) -> msgspec.Raw | None:
    row = reads.fetch_one(connection, "answer", once.owner, once.route, once.key)
    return msgspec.Raw(row[1]) if row else None


class ClaimsCarelessly(SqliteStore):
    """Looks whether a run is free, and takes it: two steps."""

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        wanted = await self._read(reads.find_next_run, serves, declined)
        if wanted is None:
            return None
        about, now = ReadSet(owner=None, run_id=wanted), system_clock()
        records, _ = await self._read(reads.read_records, about, now)
        change = decide(records)
        if change is None:
            return None
        await asyncio.sleep(WINDOW_SECONDS)
        await self._write("claim", _set, change, self._writer_id)
        return Claim("local", change.run_updates[0].run, change.run_updates[0].lease)


def _set(connection: sqlite3.Connection, change: ChangeSet, writer: int) -> None:
    (driven,) = change.run_updates
    run, lease = driven.run, driven.lease
    connection.execute(
        "UPDATE runs SET status = ?, epoch = ?, worker = ?, due_at = ?, last_event = ?, doc = ? "
        "WHERE id = ?",
        (
            *(run.status.value, lease.epoch, lease.worker, lease.due_at, lease.last_event),
            *(msgspec.json.encode(run), run.id),
        ),
    )
    lines = b"\n".join(map(events.encode, driven.events))
    first = lease.last_event - len(driven.events) + 1
    connection.execute(
        "INSERT OR IGNORE INTO fresh (run, first, last, writer, lines) "
        "SELECT seq, ?, ?, ?, ? FROM runs WHERE id = ?",
        (first, lease.last_event, writer, lines, run.id),
    )


class TellsBeforeItKeeps(CachedStore):
    """Shows readers of this process an event while it is still being written."""

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        self._tails.extend(run_id, first, lines, ended=False)
        super().append(run_id, epoch, first, lines, kept, urgent=urgent)


class SendsBeforeTheCommit(CachedStore):
    """Takes an event that is on its way to the writer for stored, and sends it at once.

    It goes straight to the connections of readers that wait: no task is woken for it.
    """

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        super().append(run_id, epoch, first, lines, _ignore_outcome, urgent=urgent)
        self._tails.extend(run_id, first, lines, ended=False)
        asyncio.get_running_loop().call_soon(kept, None)


def _ignore_outcome(_: Exception | None) -> None:
    """The event was sent long ago."""


BUGS: dict[str, tuple[type[SqliteStore], type[CachedStore]]] = {
    "acknowledges early": (AcknowledgesEarly, CachedStore),
    "keeps keys apart": (KeepsKeysApart, CachedStore),
    "claims carelessly": (ClaimsCarelessly, CachedStore),
    "tells before it keeps": (SqliteStore, TellsBeforeItKeeps),
    "sends before the commit": (SqliteStore, SendsBeforeTheCommit),
}


def main(_: Sequence[str]) -> int:
    """Serve until SIGTERM, with the bug."""
    failpoints.arm(os.environ.get("FAILPOINTS", ""))
    asyncio.run(_serve(loading.load({"port": "0"}, os.environ, Path.cwd())))
    return 0


async def _serve(asked: Settings) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, over.set)
    async with run_server(asked, _open_runtime) as url:
        print(f"listening on {url}", file=sys.stderr, flush=True)
        asyncio.get_running_loop().add_signal_handler(15, over.set)
        await over.wait()


@asynccontextmanager
async def _open_runtime(asked: Settings) -> AsyncGenerator[Runtime]:
    """As `runtime.opened`, over the store with the bug."""
    runtimes: list[Runtime] = []

    def on_external_change(run_ids: Sequence[str]) -> None:
        for runtime in runtimes:
            runtime.on_external_change(run_ids)

    file = database_file(asked)
    assert file
    kind, cached = BUGS[os.environ["BUG"]]
    store = cached(await kind.open(file, on_foreign=on_external_change))
    runtime = Runtime(asked, store, LocalBus(), Catalog(asked, os.environ))
    runtimes.append(runtime)
    runtime.worker.start()
    try:
        yield runtime
    finally:
        await runtime.drain(1)
        await store.close()
