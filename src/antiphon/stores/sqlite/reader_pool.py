"""Pool of threads that read from SQLite: each sees a snapshot, and none waits for a write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from antiphon.stores.sqlite.file import DatabaseFile, connect
from antiphon.stores.sqlite.writer_thread import make_closed_error, translate_error

T = TypeVar("T")

CACHE_BYTES = (
    4_000_000  # of each connection, twice SQLite's default: a long conversation is read from memory
)

PROGRESS_STEPS = 2_000
"""Instructions of SQLite's virtual machine between two checks of the clock."""


class ReaderPool:
    """Threads with a connection each.

    Owners take turns: a free thread reads for the waiting owner that was served longest ago. The
    threads choose by themselves, so that none is idle while the loop is busy.
    """

    def __init__(self, file: DatabaseFile, threads: int, name: str) -> None:
        self._file = file
        self._mine = _ThreadLocal()
        self._connections: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(threads, name)
        self._waiting: dict[
            str | None, deque[Callable[[], None]]
        ] = {}  # in the order of their turns
        self._lock = threading.Lock()

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        seconds: float | None = None,
        owner: str | None = None,
    ) -> T:
        """Run the read in a thread, in the owner's turn, for at most `seconds`.

        A read with a limit is also interrupted when its caller is cancelled, so that the thread is
        free again. Raises `Unavailable` if the database does not answer, and `TimeoutError`.
        """
        reading = Future[T]()
        left = threading.Event() if seconds is not None else None

        def read() -> None:
            if not reading.set_running_or_notify_cancel():
                return
            try:
                reading.set_result(self._run(work, seconds, left))
            except BaseException as fault:  # noqa: BLE001 - the caller raises it
                reading.set_exception(fault)

        with self._lock:  # the threads take as many reads as were submitted
            try:
                self._threads.submit(self._run_next)
            except RuntimeError as fault:  # the pool is shut down
                raise make_closed_error() from fault
            self._waiting.setdefault(owner, deque()).append(read)
        try:
            return await asyncio.wrap_future(reading)
        finally:
            if left is not None:
                left.set()

    async def close(self) -> None:
        """Finish the reads that were submitted, and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    # In the threads

    def _run_next(self) -> None:
        with self._lock:
            owner = next(iter(self._waiting))
            reads = self._waiting.pop(owner)
            read = reads.popleft()
            if reads:
                self._waiting[owner] = reads  # behind the other owners
        read()

    def _run(
        self,
        work: Callable[[sqlite3.Connection], T],
        seconds: float | None,
        left: threading.Event | None,
    ) -> T:
        try:
            self._file.check()
            connection = self._connection()
            if seconds is None or left is None:
                return work(connection)
            with _time_limit(connection, seconds, left):
                return work(connection)
        except sqlite3.Error as fault:
            raise translate_error(fault) from fault

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at its first read."""
        if self._mine.connection is None:
            connection = connect(self._file.path)
            connection.execute("PRAGMA query_only = TRUE")
            connection.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
            self._connections.append(connection)
            self._mine.connection = connection
        return self._mine.connection


@contextmanager
def _time_limit(
    connection: sqlite3.Connection, seconds: float, left: threading.Event
) -> Generator[None]:
    """Interrupt the block after `seconds` or when its caller has left. Raises `TimeoutError`."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: left.is_set() or time.monotonic() > end, PROGRESS_STEPS)
    try:
        yield
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError from fault
        raise
    finally:
        connection.set_progress_handler(None, 0)


class _ThreadLocal(threading.local):
    connection: sqlite3.Connection | None = None
