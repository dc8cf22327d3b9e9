"""A PostgreSQL database laid open, to be moved from or to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import statements
from antiphon.stores.dump import TABLES, Row, Table, another
from antiphon.stores.postgres.connections import (
    CONNECT_SECONDS,
    ConnectionPool,
    fetch_value,
    translate_error,
)
from antiphon.stores.postgres.migrations import DAY_MS, make_parts, prepare, schema
from antiphon.types.errors import BadSettings, Conflict

T = TypeVar("T")

SQL = statements.load_statements("postgres_moving")

_PATIENT = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SET enable_seqscan = on; SET enable_hashjoin = on; SET plan_cache_mode = auto"
)
"""What is moved is read whole, and may take as long as it takes."""


class PostgresInventory:
    """See `Inventory`. One connection, which is in one transaction while it is held."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, address: str, *, new: bool = False) -> PostgresInventory:
        """The database as it is; brought to this version's form where it may be `new`.

        Raises `BadSettings` and `Unavailable`.
        """
        inventory = cls(await _reached(ConnectionPool(address, 1)))
        try:
            await inventory._work(lambda connection: connection.execute(_PATIENT))
            await inventory._work(_prepare if new else _check)
        except BaseException:
            await inventory.close()
            raise
        return inventory

    async def hold(self) -> None:
        """See `Inventory.hold`."""
        try:
            await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await self._connection.execute(SQL["hold"])
        except asyncpg.LockNotAvailableError as fault:
            raise Conflict(
                "Somebody writes to the database.",
                expected="a database that nobody uses",
                hint="Stop what serves it, and try again.",
            ) from fault
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
            raise translate_error(fault) from fault

    async def driven(self) -> int:
        """See `Inventory.driven`."""
        return int(await self._value("driven"))

    async def counts(self) -> Mapping[str, int]:
        """See `Inventory.counts`."""
        return {table.name: int(await self._value(f"count_{table.name}")) for table in TABLES}

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """See `Inventory.read`."""

        async def read(connection: Connection[Any]) -> Sequence[Row]:
            rows = await connection.fetch(SQL[f"read_{table.name}"], *after, table.at_once)
            return [tuple(row) for row in rows]

        return await self._work(read)

    async def progress(self) -> bytes | None:
        """See `Inventory.progress`."""
        noted: bytes | None = await self._value("progress")
        return noted

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """See `Inventory.write`."""

        async def write(connection: Connection[Any]) -> None:
            if table.name == "events":
                await _make_parts(connection)
            async with connection.transaction():
                if await connection.fetchval(SQL["progress_for_update"]) != before:
                    raise another()
                await connection.executemany(SQL[f"write_{table.name}"], rows)
                await connection.execute(SQL["note_progress"], progress)

        await self._work(write)

    async def finish(self) -> None:
        """See `Inventory.finish`."""

        async def finish(connection: Connection[Any]) -> None:
            async with connection.transaction():
                await connection.fetch(SQL["count_on"])
                await connection.execute(SQL["drop_progress"])
            await connection.execute("ANALYZE")

        await self._work(finish)

    async def close(self) -> None:
        """See `Inventory.close`; what it held is let go of."""
        await self._connection.close(timeout=CONNECT_SECONDS)

    async def _value(self, name: str) -> Any:
        return await self._work(lambda connection: connection.fetchval(SQL[name]))

    async def _work(self, work: Callable[[Connection[Any]], Awaitable[T]]) -> T:
        try:
            return await work(self._connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
            raise translate_error(fault) from fault


async def _reached(connections: ConnectionPool) -> Connection[Any]:
    try:
        return await connections.connect()
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
        raise translate_error(fault) from fault


async def _prepare(connection: Connection[Any]) -> None:
    today = int(await fetch_value(connection, "now", now=None)) // DAY_MS
    await prepare(connection, today, everything=True, moving=True)


async def _check(connection: Connection[Any]) -> None:
    found, known = await schema(connection)
    if found != known:
        raise BadSettings(
            "The database has not this version's form.",
            expected=f"schema {known}",
            received=f"schema {found}",
            hint="`antiphon migrate --database ...` brings it to this form; nothing is lost.",
        )


async def _make_parts(connection: Connection[Any]) -> None:
    """A part of the log for each day of which there are events."""
    for day in await connection.fetch(SQL["days_of_events"]):
        await make_parts(connection, day[0])
