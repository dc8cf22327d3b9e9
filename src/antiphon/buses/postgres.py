"""Carries wake-ups by PostgreSQL's LISTEN and NOTIFY, on one connection beside the store's own.

A NOTIFY is never part of a transaction that writes anything: it takes a lock of the whole server
until its commit. A pooler that hands connections round (PgBouncer in transaction mode) loses
notifications; Redis is the carrier there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from antiphon.buses.shared import BackendDown

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

CHANNEL = "antiphon"
CLOSE_SECONDS = 0.5
NOTIFY = "SELECT pg_notify($1, $2)"
RELAXED = "SET synchronous_commit TO off"  # a wake-up that a crash loses is lost anyway
NAME = {"application_name": "antiphon wake-ups"}
_FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class PostgresBackend:
    """See `Carrier`; `address` is the database's."""

    name = "PostgreSQL"
    max_bytes = 7_900  # of 7,999
    pause = 0.01

    def __init__(self, address: str) -> None:
        self._address = address

    @asynccontextmanager
    async def connect(
        self, hear: Callable[[str], None], hung_up: Callable[[], None]
    ) -> AsyncGenerator[PostgresBusConnection]:
        """See `Carrier.connect`."""

        def heard(_connection: object, _pid: int, _channel: str, message: object) -> None:
            hear(str(message))

        connection = await self._connected()
        try:
            connection.add_termination_listener(lambda _: hung_up())
            await connection.execute(RELAXED)
            await connection.add_listener(CHANNEL, heard)
            yield PostgresBusConnection(connection)
        except _FAULTS as fault:
            raise BackendDown(_told(fault)) from fault
        finally:
            with suppress(*_FAULTS):
                await connection.close(timeout=CLOSE_SECONDS)

    async def _connected(self) -> Connection:
        try:
            return await asyncpg.connect(self._address, server_settings=NAME)
        except _FAULTS as fault:
            raise BackendDown(_told(fault)) from fault


class PostgresBusConnection:
    """See `Line`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, message: str) -> None:
        """See `Line.publish`."""
        try:
            await self._connection.execute(NOTIFY, CHANNEL, message)
        except _FAULTS as fault:
            raise BackendDown(_told(fault)) from fault


def _told(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
