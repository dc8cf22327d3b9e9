"""A SQLite file laid open, to be moved from or to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.stores import statements
from antiphon.stores.dump import TABLES, Row, Table, another
from antiphon.stores.invariants import system_clock
from antiphon.stores.sqlite.file import connect, open_database, read_schema
from antiphon.stores.sqlite.writer_thread import transaction
from antiphon.types.errors import BadSettings, Conflict, Unavailable

SQL = statements.load_statements("sqlite_moving")


class SqliteInventory:
    """See `Inventory`. Its own connection, in a thread of whoever asks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path, *, new: bool = False) -> SqliteInventory:
        """The file as it is; made, or brought to this version's form, where it may be `new`.

        Raises `BadSettings`.
        """
        return cls(await asyncio.to_thread(_opened, path, new))

    async def hold(self) -> None:
        """See `Inventory.hold`: what others want to write is refused until the end."""
        await self._work(_hold)

    async def driven(self) -> int:
        """See `Inventory.driven`."""
        return int(await self._work(_value, "driven", system_clock()))

    async def counts(self) -> Mapping[str, int]:
        """See `Inventory.counts`."""
        return {
            table.name: int(await self._work(_value, f"count_{table.name}")) for table in TABLES
        }

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """See `Inventory.read`."""
        rows: list[Row] = await self._work(_read, table, after)
        return rows

    async def progress(self) -> bytes | None:
        """See `Inventory.progress`."""
        noted: bytes | None = await self._work(_value, "progress")
        return noted

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """See `Inventory.write`."""
        await self._work(_write, table, rows, before, progress)

    async def finish(self) -> None:
        """See `Inventory.finish`; the file counts on by itself."""
        await self._work(_finish)

    async def close(self) -> None:
        """See `Inventory.close`."""
        await asyncio.to_thread(self._connection.close)

    async def _work(self, work: Any, *args: Any) -> Any:
        try:
            return await asyncio.to_thread(work, self._connection, *args)
        except sqlite3.Error as fault:
            raise Unavailable(f"The database cannot be used: {fault}.") from fault


def _opened(path: Path, new: bool) -> sqlite3.Connection:
    if new:
        return open_database(path, system_clock(), moving=True)
    found, known = read_schema(path)
    if found != known:
        raise BadSettings(
            "The database has not this version's form.",
            expected=f"schema {known}",
            received=f"schema {found}" if found else f"no database at {path}",
            hint="`antiphon migrate --database ...` brings it to this form; nothing is lost.",
        )
    return connect(path)


def _hold(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as fault:
        raise Conflict(
            "Somebody writes to the database.",
            expected="a database that nobody uses",
            hint="Stop what serves it, and try again.",
        ) from fault


def _value(connection: sqlite3.Connection, name: str, *values: Any) -> Any:
    row = connection.execute(SQL[name], values).fetchone()
    return None if row is None else row[0]


def _read(connection: sqlite3.Connection, table: Table, after: Row) -> list[Row]:
    cursor = connection.execute(SQL[f"read_{table.name}"], (*after, table.at_once))
    return [_flagged(table, row) for row in cursor]


def _flagged(table: Table, row: Row) -> Row:
    if not table.flags:
        return row
    return tuple(bool(it) if place in table.flags else it for place, it in enumerate(row))


def _write(
    connection: sqlite3.Connection,
    table: Table,
    rows: Sequence[Row],
    before: bytes | None,
    progress: bytes,
) -> None:
    with transaction(connection):
        if _value(connection, "progress") != before:
            raise another()
        if table.name == "files":  # which lie in two tables here
            connection.executemany(SQL["write_files"], [row[:4] for row in rows])
            connection.executemany(SQL["write_contents"], rows)
        else:
            connection.executemany(SQL[f"write_{table.name}"], rows)
        connection.execute(SQL["note_progress"], (progress,))


def _finish(connection: sqlite3.Connection) -> None:
    connection.execute(SQL["drop_progress"])
