"""A PostgreSQL database opened for a copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import dump, statements
from antiphon.stores.dump import TABLES, Row, Table
from antiphon.stores.postgres.connections import (
    CONNECT_SECONDS,
    ConnectionPool,
    fetch_value,
    translate_error,
)
from antiphon.stores.postgres.migrations import DAY_MS, make_parts, prepare, schema

T = TypeVar("T")

SQL = statements.load_statements("postgres_moving")

_SESSION = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SET enable_seqscan = on; SET enable_hashjoin = on; SET plan_cache_mode = auto"
)
"""Settings of a session that reads whole tables, without a limit of time."""


class PostgresDump:
    """See `Dump`; a connection, which is in one transaction while the database is locked."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, address: str, *, new: bool = False) -> PostgresDump:
        """Open the database as it is; with `new` migrate it to this version's schema.

        Raises `BadSettings` and `Unavailable`.
        """
        opened = cls(await _connect(address))
        try:
            await opened._work(lambda connection: connection.execute(_SESSION))
            await opened._work(_prepare if new else _check)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def lock(self) -> None:
        """See `Dump.lock`."""
        try:
            await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await self._connection.execute(SQL["lock_tables"])
        except asyncpg.LockNotAvailableError as fault:
            raise dump.database_in_use() from fault
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
            raise translate_error(fault) from fault

    async def count_driven_runs(self) -> int:
        """See `Dump.count_driven_runs`."""
        return int(await self._value("count_driven_runs"))

    async def count_rows(self) -> Mapping[str, int]:
        """See `Dump.count_rows`."""
        return {table.name: int(await self._value(f"count_{table.name}")) for table in TABLES}

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """See `Dump.read`."""

        async def read(connection: Connection[Any]) -> Sequence[Row]:
            rows = await connection.fetch(SQL[f"read_{table.name}"], *after, table.at_once)
            return [tuple(row) for row in rows]

        return await self._work(read)

    async def progress(self) -> bytes | None:
        """See `Dump.progress`."""
        stored: bytes | None = await self._value("progress")
        return stored

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """See `Dump.write`."""

        async def write(connection: Connection[Any]) -> None:
            if table.name == "events":
                for day in await connection.fetch(SQL["days_of_events"]):
                    await make_parts(connection, day[0])
            async with connection.transaction():
                if await connection.fetchval(SQL["progress_for_update"]) != before:
                    raise dump.concurrent_copy()
                await connection.executemany(SQL[f"write_{table.name}"], rows)
                await connection.execute(SQL["save_progress"], progress)

        await self._work(write)

    async def finish(self) -> None:
        """See `Dump.finish`."""

        async def finish(connection: Connection[Any]) -> None:
            async with connection.transaction():
                await connection.fetch(SQL["set_sequences"])
                await connection.execute(SQL["delete_progress"])
            await connection.execute("ANALYZE")

        await self._work(finish)

    async def close(self) -> None:
        """See `Dump.close`."""
        await self._connection.close(timeout=CONNECT_SECONDS)

    async def _value(self, name: str) -> Any:
        return await self._work(lambda connection: connection.fetchval(SQL[name]))

    async def _work(self, work: Callable[[Connection[Any]], Awaitable[T]]) -> T:
        try:
            return await work(self._connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
            raise translate_error(fault) from fault


async def _connect(address: str) -> Connection[Any]:
    try:
        return await ConnectionPool(address, 1).connect()
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
        raise translate_error(fault) from fault


async def _prepare(connection: Connection[Any]) -> None:
    today = int(await fetch_value(connection, "now", now=None)) // DAY_MS
    await prepare(connection, today, all_migrations=True, moving=True)


async def _check(connection: Connection[Any]) -> None:
    found, known = await schema(connection)
    if found != known:
        raise dump.wrong_schema(f"schema {found}", known)
