"""A SQLite file opened for a copy."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.stores import dump, statements
from antiphon.stores.dump import TABLES, Row, Table
from antiphon.stores.invariants import system_clock
from antiphon.stores.sqlite.file import connect, open_database, read_schema, transaction
from antiphon.types.errors import Unavailable

SQL = statements.load_statements("sqlite_moving")


class SqliteDump:
    """See `Dump`; a connection of its own, used in the caller's worker threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path, *, new: bool = False) -> SqliteDump:
        """Open the file as it is; with `new` create it, or migrate it to this version's schema.

        Raises `BadSettings`.
        """
        if new:
            return cls(await asyncio.to_thread(open_database, path, system_clock(), moving=True))
        found, known = await asyncio.to_thread(read_schema, path)
        if found != known:
            raise dump.wrong_schema(f"schema {found}" if found else f"no database at {path}", known)
        return cls(await asyncio.to_thread(connect, path))

    async def lock(self) -> None:
        """See `Dump.lock`."""
        await self._work(_lock)

    async def count_driven_runs(self) -> int:
        """See `Dump.count_driven_runs`."""
        return int(await self._work(_value, "count_driven_runs", system_clock()))

    async def count_rows(self) -> Mapping[str, int]:
        """See `Dump.count_rows`."""
        return {
            table.name: int(await self._work(_value, f"count_{table.name}")) for table in TABLES
        }

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """See `Dump.read`."""
        rows: list[Row] = await self._work(_read, table, after)
        return rows

    async def progress(self) -> bytes | None:
        """See `Dump.progress`."""
        stored: bytes | None = await self._work(_value, "progress")
        return stored

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """See `Dump.write`."""
        await self._work(_write, table, rows, before, progress)

    async def finish(self) -> None:
        """See `Dump.finish`; the file numbers new rows by itself."""
        await self._work(_finish)

    async def close(self) -> None:
        """See `Dump.close`."""
        await asyncio.to_thread(self._connection.close)

    async def _work(self, work: Any, *args: Any) -> Any:
        try:
            return await asyncio.to_thread(work, self._connection, *args)
        except sqlite3.Error as fault:
            raise Unavailable(f"The database cannot be used: {fault}.") from fault


def _lock(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as fault:
        raise dump.database_in_use() from fault


def _value(connection: sqlite3.Connection, name: str, *values: Any) -> Any:
    row = connection.execute(SQL[name], values).fetchone()
    return None if row is None else row[0]


def _finish(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute(SQL["reindex_messages"])
        connection.execute(SQL["delete_progress"])


def _read(connection: sqlite3.Connection, table: Table, after: Row) -> list[Row]:
    rows = connection.execute(SQL[f"read_{table.name}"], (*after, table.at_once)).fetchall()
    if not table.flags:
        return rows
    return [
        tuple(bool(it) if place in table.flags else it for place, it in enumerate(row))
        for row in rows
    ]


def _write(
    connection: sqlite3.Connection,
    table: Table,
    rows: Sequence[Row],
    before: bytes | None,
    progress: bytes,
) -> None:
    with transaction(connection):
        if _value(connection, "progress") != before:
            raise dump.concurrent_copy()
        if table.name == "files":  # a file is a row of each of two tables here
            connection.executemany(SQL["write_files"], [row[:4] for row in rows])
            connection.executemany(SQL["write_contents"], rows)
        else:
            connection.executemany(SQL[f"write_{table.name}"], rows)
        connection.execute(SQL["save_progress"], (progress,))
