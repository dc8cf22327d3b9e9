"""The one thread of a process that writes to SQLite; queued writes are committed together.

A commit costs far more than its statements, and the loop must not wait for either. So every write
goes into a queue; the thread takes all that is queued, runs it in one transaction, commits once,
and reports to the loop once. No caller gets a result before it is committed. A write that raises is
rolled back alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from antiphon.stores.sqlite.file import LOCK_SECONDS, DatabaseFile, transaction
from antiphon.telemetry.failpoints import hit
from antiphon.types.errors import AntiphonError, Internal, Unavailable

BUSY_SECONDS = 1.5  # how long others may lock the file and commit nothing before callers fail
ATTEMPT_SECONDS = 0.05  # how long SQLite itself tries to lock the file
POLL_SECONDS = 0.02  # between checks for writes of other processes, while a reader waits for them
IDLE_POLL_SECONDS = 0.25  # the same while none does
TRUNCATE_SECONDS = 0.5  # how long to wait for readers before the log is truncated
CHECKPOINT_AFTER_SECONDS = 1.0  # without a write, before a checkpoint

FILE_CHECK_SECONDS = 1.0  # between checks that the file still exists

_log = logging.getLogger("antiphon.stores.sqlite")
_FAIL_FAST = frozenset(
    (
        *("ask", "cancel", "message", "messages", "output", "run", "thread", "put", "delete"),
        *("claim_action", "forget_response", "share"),
        *("act", "check", "count", "key", "person", "project", "provider_key"),
        *("webhook", "delivery", "schedule", "personal", "chat_import"),
    )
)
"""Writes of clients, who get a retryable error soon rather than wait for a locked file."""


class LockPatience:
    """Decides how long to wait for a file that other processes lock.

    A process that keeps its lock is not waited for long. Processes that commit again and again are:
    the file is only busy. `version` changes with each of their commits; `now` is in seconds.
    """

    def __init__(self, version: int, now: float) -> None:
        self._version = version
        self._began_at = self._changed_at = now

    def is_over(self, version: int, now: float) -> bool:
        """Return whether to give up."""
        if version != self._version:
            self._version, self._changed_at = version, now
        return now - self._changed_at >= BUSY_SECONDS or now - self._began_at >= LOCK_SECONDS


OnDone = Callable[[Any, Exception | None], None]
_Outcome = tuple[OnDone, Any, Exception | None]
"""A write's callback, and the result or the error that it is called with."""


@dataclass(frozen=True)
class Write:
    """A function to run in the transaction, and the callback on the loop for its result.

    `name` names its failpoints. A `relaxed` write acknowledges nothing to a client: it may be lost
    if the machine crashes, though not if the process does. `before_commit` is called on the loop
    with the result while the commit waits for the disk.
    """

    name: str
    work: Callable[[sqlite3.Connection], Any]
    on_done: OnDone
    relaxed: bool = False
    before_commit: Callable[[Any], None] | None = None


class WriterThread:
    """Runs writes in their order, group by group.

    `tidy` is called in a transaction of its own after a while without writes, and at the end.
    `on_foreign_write` is called after another process has written; `is_awaited` returns if a reader
    waits for such writes, so that they are checked for more often. All are called in the thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        tidy: Callable[[sqlite3.Connection], None],
        on_foreign_write: Callable[[sqlite3.Connection], None] | None,
        is_awaited: Callable[[], bool],
        file: DatabaseFile,
    ) -> None:
        self._connection = connection
        self._file = file
        self._checked_file_at = time.monotonic()
        self._lost = False  # the file, at the last check
        self._loop = asyncio.get_running_loop()
        self._tidy = tidy
        self._on_foreign_write = on_foreign_write
        self._is_awaited = is_awaited
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="antiphon sqlite", daemon=True)
        self._closed = False
        self._relaxed = False
        self._needs_checkpoint = True  # a process that was killed may have left fresh rows
        self._needs_truncate = False  # the log holds deleted text
        self._wrote_at = time.monotonic()
        self._version = self._data_version()
        self._polled_at = 0.0
        connection.execute(f"PRAGMA busy_timeout = {ATTEMPT_SECONDS * 1000:.0f}")
        self._thread.start()

    def submit(self, operation: Write) -> None:
        """Queue a write. Raises `Unavailable` after `close`."""
        if self._closed:
            raise make_closed_error()
        self._waiting.put(operation)

    async def run(
        self,
        what: str,
        work: Callable[[sqlite3.Connection], Any],
        *,
        relaxed: bool = False,
        before_commit: Callable[[Any], None] | None = None,
    ) -> Any:
        """Queue a write and wait until it is committed; raises what it raised.

        `before_commit` is not called after the caller was cancelled: nothing would end what it
        begins.
        """
        done: asyncio.Future[Any] = self._loop.create_future()

        def announce(result: Any) -> None:
            if before_commit is not None and not done.done():
                before_commit(result)

        def settle(result: Any, fault: Exception | None) -> None:
            if done.cancelled():
                return
            if fault is not None:
                done.set_exception(fault)
            else:
                done.set_result(result)

        self.submit(Write(what, work, settle, relaxed, before_commit and announce))
        return await done

    async def truncate_log(self) -> None:
        """Checkpoint and truncate the log, so that no deleted text stays in it.

        If a reader blocks it, it is retried later.
        """
        self._needs_truncate = True
        for _ in range(2):  # the second runs after the thread has finished with the first
            await self.run("log", lambda connection: None)

    async def close(self) -> None:
        """Finish queued writes, checkpoint, and end the thread."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    # In the thread

    def _run(self) -> None:
        open_ = True
        while open_:
            gathered, open_ = self._gather()
            if gathered:
                self._write(gathered)
                self._truncate_log_if_asked()
            elif time.monotonic() - self._wrote_at >= CHECKPOINT_AFTER_SECONDS:
                self._tidy_and_checkpoint()
            if open_:
                self._poll_foreign_writes()
                self._check_file()
        self._tidy_and_checkpoint()

    def _gather(self) -> tuple[list[Write], bool]:
        """Wait for writes, for a while, and return all that are queued; False at the end."""
        gathered: list[Write] = []
        try:
            operation = self._waiting.get(timeout=self._poll_seconds())
            while operation is not None:
                gathered.append(operation)
                operation = self._waiting.get_nowait()
        except queue.Empty:
            return gathered, True
        return gathered, False

    def _poll_seconds(self) -> float | None:
        if self._on_foreign_write is not None:
            return POLL_SECONDS if self._is_awaited() else IDLE_POLL_SECONDS
        return IDLE_POLL_SECONDS if self._needs_checkpoint else None

    def _write(self, gathered: Sequence[Write]) -> None:
        operations = self._begin(gathered)
        try:
            outcomes = self._transact(operations) if operations else []
        except (sqlite3.Error, AntiphonError) as fault:
            outcomes = _fail_all(operations, fault)
        self._report(outcomes)

    def _begin(self, operations: Sequence[Write]) -> Sequence[Write]:
        """Begin a transaction; return the writes to run in it, without those that failed fast.

        While another process locks the file, writes that arrive meanwhile fail fast too.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        while operations:
            try:
                self._set_synchronous(all(operation.relaxed for operation in operations))
                self._lock_file()
            except sqlite3.Error as fault:
                patient = _is_busy(fault) and time.monotonic() < deadline
                waiting = [*operations, *self._take_queued()]
                operations = [each for each in waiting if patient and each.name not in _FAIL_FAST]
                failed = [each for each in waiting if not patient or each.name in _FAIL_FAST]
                self._report(_fail_all(failed, fault))
            else:
                break
        return operations

    def _lock_file(self) -> None:
        """Begin a transaction that writes. Raises `sqlite3.Error` if others lock the file too long.

        SQLite waits ever longer between two attempts, up to 0.1 s, and so would hardly ever meet
        the moments in which a process that writes all the time has no lock.
        """
        patience: LockPatience | None = None
        while True:
            began_at = time.monotonic()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as fault:
                if not _is_busy(fault):
                    raise
                version = self._data_version()
                patience = patience or LockPatience(version, began_at)
                if patience.is_over(version, time.monotonic()):
                    raise
            else:
                return

    def _take_queued(self) -> list[Write]:
        """Return the writes that were queued meanwhile."""
        queued: list[Write] = []
        with suppress(queue.Empty):
            while (operation := self._waiting.get_nowait()) is not None:
                queued.append(operation)
            self._waiting.put(None)
        return queued

    def _report(self, outcomes: list[_Outcome]) -> None:
        with suppress(RuntimeError):  # the loop is closed: no caller is left
            self._loop.call_soon_threadsafe(_call_all, outcomes)

    def _transact(self, operations: Sequence[Write]) -> list[_Outcome]:
        with transaction(self._connection):
            self._file.check()
            outcomes = self._run_all(operations)
            self._announce(operations, outcomes)
            for operation in operations:
                hit(f"{operation.name}.before_commit")
        self._needs_checkpoint = True
        self._wrote_at = time.monotonic()
        for operation in operations:
            hit(f"{operation.name}.after_commit")
        return outcomes

    def _announce(self, operations: Sequence[Write], outcomes: Sequence[_Outcome]) -> None:
        """Call `before_commit` of the writes that are about to be committed."""
        written = [
            (operation.before_commit, result)
            for operation, (_, result, fault) in zip(operations, outcomes, strict=True)
            if operation.before_commit is not None and fault is None
        ]
        if written:
            with suppress(RuntimeError):  # the loop is closed: no caller is left
                self._loop.call_soon_threadsafe(_call_each, written)

    def _run_all(self, operations: Sequence[Write]) -> list[_Outcome]:
        """Run the writes; if one raises, roll back and run all again, each in a savepoint.

        Savepoints are for failures alone: SQLite copies every page that is written in one. A write
        that runs twice decides the same, as its decisions are pure. A database error is raised.
        """
        try:
            return [(each.on_done, each.work(self._connection), None) for each in operations]
        except Exception as fault:
            if isinstance(fault, sqlite3.Error) and not isinstance(fault, sqlite3.IntegrityError):
                raise
        self._connection.execute("ROLLBACK")
        self._lock_file()
        return [self._run_in_savepoint(operation) for operation in operations]

    def _run_in_savepoint(self, operation: Write) -> _Outcome:
        """Run one write; if it raises it is rolled back alone. A database error is raised."""
        self._connection.execute("SAVEPOINT attempt")
        try:
            result = operation.work(self._connection)
        except sqlite3.IntegrityError as fault:
            refused = Internal(f"The database refused the change: {fault}.")
            refused.__cause__ = fault
            return self._roll_back(operation, refused)
        except sqlite3.Error:
            raise
        except Exception as fault:  # noqa: BLE001 - a wall: `decide` is the caller's, and so is its error
            return self._roll_back(operation, fault)
        self._connection.execute("RELEASE attempt")
        return operation.on_done, result, None

    def _roll_back(self, operation: Write, fault: Exception) -> _Outcome:
        self._connection.execute("ROLLBACK TO attempt")
        self._connection.execute("RELEASE attempt")
        return operation.on_done, None, fault

    def _set_synchronous(self, relaxed: bool) -> None:
        """Choose whether the next commits wait for the disk."""
        if relaxed != self._relaxed:
            level = "NORMAL" if relaxed else "FULL"
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._relaxed = relaxed

    def _tidy_and_checkpoint(self) -> None:
        """Fold fresh rows and checkpoint the log while no write waits; readers go on."""
        if self._needs_checkpoint:
            self._needs_checkpoint = False
            with suppress(sqlite3.Error):  # retried after the next write
                with transaction(self._connection):
                    self._tidy(self._connection)
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _truncate_log_if_asked(self) -> None:
        if not self._needs_truncate:
            return
        with suppress(sqlite3.Error):
            self._connection.execute(f"PRAGMA busy_timeout = {TRUNCATE_SECONDS * 1000:.0f}")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._needs_truncate = bool(busy)
        self._connection.execute(f"PRAGMA busy_timeout = {ATTEMPT_SECONDS * 1000:.0f}")

    def _poll_foreign_writes(self) -> None:
        """Check for writes of other processes, at most every `POLL_SECONDS`."""
        now = time.monotonic()
        if self._on_foreign_write is None or now - self._polled_at < POLL_SECONDS:
            return
        self._polled_at = now
        with suppress(sqlite3.Error):  # a wake-up may be lost
            version = self._data_version()
            if version != self._version:
                self._version = version
                self._on_foreign_write(self._connection)

    def _check_file(self) -> None:
        """Log an error if the file was deleted or replaced, even without writes or reads."""
        now = time.monotonic()
        if now - self._checked_file_at < FILE_CHECK_SECONDS:
            return
        self._checked_file_at = now
        try:
            self._file.check()
        except Unavailable as fault:
            if not self._lost:
                _log.error("%s %s", fault.message, fault.details["hint"])
            self._lost = True
        else:
            self._lost = False

    def _data_version(self) -> int:
        """Return a number that changes when another connection has committed."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def _is_busy(fault: sqlite3.Error) -> bool:
    """Return whether another process locks the file."""
    code: int = getattr(fault, "sqlite_errorcode", 0)  # errors of Python's own module have none
    return code & 0xFF == sqlite3.SQLITE_BUSY


def _fail_all(operations: Sequence[Write], fault: Exception) -> list[_Outcome]:
    unclear = translate_error(fault)
    return [(each.on_done, None, unclear) for each in operations]


def translate_error(fault: Exception) -> Exception:
    """Return the error of ours for an error of the database; callers may retry."""
    if isinstance(fault, AntiphonError):
        return fault
    translated = Unavailable(
        f"The database does not answer: {fault}.",
        hint="If this lasts, check if its disk is full and which other process uses the file.",
    )
    translated.__cause__ = fault
    return translated


def make_closed_error() -> Unavailable:
    """Return the error for a call after `close`."""
    return Unavailable("The store is closed.")


def _call_each(written: Sequence[tuple[Callable[[Any], None], Any]]) -> None:
    for before_commit, result in written:
        try:
            before_commit(result)
        except Exception:  # noqa: BLE001 - one that raises must not stop the others
            _log.exception("a change that is being committed could not be announced")


def _call_all(outcomes: Sequence[_Outcome]) -> None:
    for settle, result, fault in outcomes:
        settle(result, fault)
