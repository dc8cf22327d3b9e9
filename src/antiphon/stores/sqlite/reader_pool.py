"""Threads that read from SQLite: each sees a snapshot, and none waits for a write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from antiphon.limits.fair_queue import FairQueue
from antiphon.stores.sqlite.disk import OpenedFile
from antiphon.stores.sqlite.file import connected
from antiphon.stores.sqlite.writer_thread import closed, unavailable

T = TypeVar("T")

CACHE_BYTES = 4_000_000  # in each thread: a long thread is read from memory; SQLite would keep half

AHEAD = 2
"""Reads for each thread that have left the queue: the next one is there while the loop is busy."""
STEPS = 2_000
"""Instructions of SQLite's machine between two looks at the clock."""


class Readers:
    """Some threads with a connection each."""

    def __init__(self, file: OpenedFile, threads: int, name: str) -> None:
        self._file = file
        self._mine = _Mine()
        self._connections: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(threads, name)
        self._queue = FairQueue(AHEAD * threads, AHEAD * threads, patience=None)

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        seconds: float | None = None,
        owner: str | None = None,
    ) -> T:
        """Read in a thread, for so many seconds at most. Owners take turns; None is one of them.

        What has such a bound is also broken off when its caller is cancelled, so that the thread is
        free again. Raises `Unavailable` where the database does not answer, `TimeoutError` after
        the seconds.
        """
        loop, left = asyncio.get_running_loop(), threading.Event()
        await self._queue.enter(owner)
        try:
            reading = loop.run_in_executor(self._threads, self._run, work, seconds, left)
        except RuntimeError as fault:  # the pool takes nothing any more
            self._queue.leave(owner)
            raise closed() from fault
        # The thread is busy until the read is over, also where its caller was cancelled.
        reading.add_done_callback(lambda _: self._queue.leave(owner))
        try:
            return await asyncio.shield(reading)
        finally:
            left.set()

    async def close(self) -> None:
        """Finish what was asked for."""
        await self._queue.drain()
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    # In the threads

    def _run(
        self, work: Callable[[sqlite3.Connection], T], seconds: float | None, left: threading.Event
    ) -> T:
        try:
            self._file.check()
            connection = self._connection()
            with _limit(connection, seconds, left):
                return work(connection)
        except sqlite3.Error as fault:
            raise unavailable(fault) from fault

    def _connection(self) -> sqlite3.Connection:
        """This thread's own; where it could not be opened, the next read tries again."""
        if self._mine.connection is None:
            connection = connected(self._file.path)
            connection.execute("PRAGMA query_only = TRUE")
            connection.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
            self._connections.append(connection)
            self._mine.connection = connection
        return self._mine.connection


@contextmanager
def _limit(
    connection: sqlite3.Connection, seconds: float | None, left: threading.Event
) -> Generator[None]:
    """Break off what takes longer, or what nobody waits for any more. Raises `TimeoutError`."""
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: left.is_set() or time.monotonic() > end, STEPS)
    try:
        yield
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError from fault
        raise
    finally:
        connection.set_progress_handler(None, 0)


class _Mine(threading.local):
    connection: sqlite3.Connection | None = None
