"""Bus backend over PostgreSQL's LISTEN and NOTIFY, on one connection beside the store's own.

A NOTIFY is never part of a transaction that writes anything: it takes a lock of the whole server
until its commit. A pooler that shares connections between clients (PgBouncer in transaction mode)
loses notifications; use Redis there.
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
NO_WAIT_FOR_DISK = "SET synchronous_commit TO off"  # a notification may be lost in a crash anyway
SERVER_SETTINGS = {"application_name": "antiphon wake-ups"}
# asyncpg raises `InternalClientError` when a server is killed in the middle of an answer.
_FAULTS = (
    *(OSError, TimeoutError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)


class PostgresBackend:
    """See `BusBackend`; `address` is the database's."""

    name = "PostgreSQL"
    max_bytes = 7_900  # of 7,999
    pause = 0.01

    def __init__(self, address: str) -> None:
        self._address = address

    @asynccontextmanager
    async def connect(
        self, on_message: Callable[[str], None], on_disconnect: Callable[[], None]
    ) -> AsyncGenerator[PostgresBusConnection]:
        """See `BusBackend.connect`."""

        def on_notify(_connection: object, _pid: int, _channel: str, message: object) -> None:
            on_message(str(message))

        try:
            connection = await asyncpg.connect(self._address, server_settings=SERVER_SETTINGS)
        except _FAULTS as fault:
            raise BackendDown(_describe(fault)) from fault
        try:
            connection.add_termination_listener(lambda _: on_disconnect())
            await connection.execute(NO_WAIT_FOR_DISK)
            await connection.add_listener(CHANNEL, on_notify)
            yield PostgresBusConnection(connection)
        except _FAULTS as fault:
            raise BackendDown(_describe(fault)) from fault
        finally:
            with suppress(*_FAULTS):
                await connection.close(timeout=CLOSE_SECONDS)


class PostgresBusConnection:
    """See `BusConnection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, message: str) -> None:
        """See `BusConnection.publish`."""
        try:
            await self._connection.execute(NOTIFY, CHANNEL, message)
        except _FAULTS as fault:
            raise BackendDown(_describe(fault)) from fault


def _describe(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
