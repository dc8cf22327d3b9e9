"""Threads that read from SQLite: each sees a snapshot, and none waits for a write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from antiphon.stores.sqlite.file import connected
from antiphon.stores.sqlite.thread import closed, unavailable

T = TypeVar("T")

CACHE_BYTES = 4_000_000  # in each thread: a long thread is read from memory; SQLite would keep half


class Readers:
    """Some threads with a connection each."""

    def __init__(self, path: Path, threads: int, name: str) -> None:
        self._path = path
        self._mine = _Mine()
        self._connections: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read in a thread. Raises `Unavailable` where the database does not answer."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        except RuntimeError as fault:  # the pool takes nothing any more
            raise closed() from fault
        return await reading

    async def close(self) -> None:
        """Finish what was asked for."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    # In the threads

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection())
        except sqlite3.Error as fault:
            raise unavailable(fault) from fault

    def _connection(self) -> sqlite3.Connection:
        """This thread's own; where it could not be opened, the next read tries again."""
        if self._mine.connection is None:
            connection = connected(self._path)
            connection.execute("PRAGMA query_only = TRUE")
            connection.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
            self._connections.append(connection)
            self._mine.connection = connection
        return self._mine.connection


class _Mine(threading.local):
    connection: sqlite3.Connection | None = None
