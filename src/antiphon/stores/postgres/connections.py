"""Connection pool and named statements of PostgreSQL, and translation of its errors.

A statement is not cancelled with its caller, because that would cost the connection. A statement
that takes too long is abandoned together with its connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import statements
from antiphon.types.errors import AntiphonError, BadSettings, Internal, InvalidRequest, Unavailable

# Statements are written with named parameters and sent with numbered ones.

_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")


class Statement(NamedTuple):
    """SQL with `$1`, `$2`, ... and the names of these parameters."""

    sql: str
    names: tuple[str, ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of their numbers. Raises `KeyError` for a missing name."""
        return [given[name] for name in self.names]


def number_parameters(sql: str) -> Statement:
    """Return the statement with each `:name` as a number."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return Statement(_PARAMETER.sub(lambda found: numbers[found[1]], sql), names)


NAMED_SQL = statements.load_statements("postgres")
SQL: Mapping[str, Statement] = {name: number_parameters(sql) for name, sql in NAMED_SQL.items()}


T = TypeVar("T")

CALL_SECONDS = 1.8  # callers are promised an error within two seconds
CONNECT_SECONDS = 1.5  # so that an unreachable server is noticed within the same time
RECONNECT_SECONDS = 0.1
BACKGROUND_SECONDS = (
    8.0  # for appends: better a stream that stops for a while than one that restarts
)
PREPARED_STATEMENTS = 256  # statements that a connection keeps prepared

SERVER_SETTINGS: Mapping[str, str] = {
    "application_name": "antiphon",
    # Commits wait for the disk, whatever the database is set to; statements that need not
    # wait turn this off themselves.
    "synchronous_commit": "on",
    "statement_timeout": "30000",  # of a client that is gone; others give up before
    # Each statement is written for its index, and planned once per connection. A table that is
    # small at that time, or has no statistics, would be scanned from then on.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class PoolTimeouts(NamedTuple):
    """Seconds after which a call, a connection, a lock and an idle transaction are given up.

    By default callers are promised an error within two seconds.
    """

    call: float = CALL_SECONDS
    connect: float = CONNECT_SECONDS
    lock: float = 1.5
    idle_in_transaction: float = 3.0  # a frozen client blocks no other

    def server_settings(self) -> dict[str, str]:
        """Return the settings that hold for a connection, in milliseconds."""
        return {
            **SERVER_SETTINGS,
            "lock_timeout": f"{self.lock * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{self.idle_in_transaction * 1000:.0f}",
        }


DEFAULT_TIMEOUTS = PoolTimeouts()


class ConnectionPool:
    """A pool of connections, opened on demand."""

    def __init__(self, address: str, most: int, timeouts: PoolTimeouts = DEFAULT_TIMEOUTS) -> None:
        self.timeouts = timeouts
        self._address, self._pooled = parse_address(address)
        self._idle: list[Connection[Any]] = []
        self._max_connections = most
        self._slots = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._connect_fault: Exception | None = (
            None  # the last error of connecting, until a connection is open
        )

    def count_by_state(self) -> Mapping[str, int]:
        """Count busy and idle connections, and calls that wait for one."""
        busy = min(len(self._tasks), self._max_connections)
        return {"busy": busy, "idle": len(self._idle), "waiting": len(self._tasks) - busy}

    async def run(
        self,
        work: Callable[[Connection[Any]], Awaitable[T]],
        seconds: float | None = None,
        repeatable: Callable[[], bool] = lambda: False,
    ) -> T:
        """Run `work` with a connection of its own, to its end, even if the caller is cancelled.

        If the connection breaks while `repeatable()` is true, the work is repeated with a new one.
        Raises `Unavailable` if it takes more than `seconds`, by default as long as any call may.
        """
        if self._closed:
            raise make_closed_error()
        within = self.timeouts.call if seconds is None else seconds
        task = asyncio.create_task(self._run_with_retry(work, within, repeatable))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        await asyncio.wait([task])
        if task.cancelled():
            raise make_closed_error()
        return task.result()

    async def connect(self) -> Connection[Any]:
        """Open a connection that the caller closes. Raises what `asyncpg.connect` does."""
        return await asyncpg.connect(
            self._address,
            timeout=self.timeouts.connect,
            # PgBouncer may send the next statement over another connection.
            statement_cache_size=0 if self._pooled else PREPARED_STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings=None if self._pooled else self.timeouts.server_settings(),
        )

    async def close(self) -> None:
        """Finish running calls and close the connections.

        Calls that take longer than they may are cancelled.
        """
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self.timeouts.call)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*map(_close, self._idle))
        self._idle.clear()

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved; `run` raises it

    async def _run_with_retry(
        self,
        work: Callable[[Connection[Any]], Awaitable[T]],
        seconds: float,
        repeatable: Callable[[], bool],
    ) -> T:
        try:
            async with asyncio.timeout(seconds), self._slots:
                while True:
                    try:
                        return await self._run_once(work)
                    except _BROKEN:
                        if not repeatable():
                            raise
        except TimeoutError as late:
            fault = self._connect_fault or late
            raise translate_error(fault) from fault
        except _FAULTS as fault:
            raise translate_error(fault) from fault

    async def _run_once(self, work: Callable[[Connection[Any]], Awaitable[T]]) -> T:
        connection = await self._acquire()
        self._connect_fault = None
        try:
            return await work(connection)
        except (asyncio.CancelledError, *_UNUSABLE):
            connection.terminate()  # its result would be lost
            raise
        finally:
            if not connection.is_closed():
                self._idle.append(connection)

    async def _acquire(self) -> Connection[Any]:
        """Return an idle connection or open one, waiting for a server that restarts."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        while True:
            try:
                return await self.connect()
            except _SERVER_UNAVAILABLE as fault:
                self._connect_fault = fault
                await asyncio.sleep(RECONNECT_SECONDS)


async def _close(connection: Connection[Any]) -> None:
    with suppress(*_FAULTS):
        await connection.close(timeout=CONNECT_SECONDS)


async def fetch_row(connection: Connection[Any], statement: Statement, /, **values: Any) -> Any:
    """Return the first row of a statement, or None."""
    return await connection.fetchrow(statement.sql, *statement.values(values))


async def fetch_value(connection: Connection[Any], name: str, /, **values: Any) -> Any:
    """Return the first value of the first row of a named statement."""
    statement = SQL[name]
    return await connection.fetchval(statement.sql, *statement.values(values))


async def fetch_rows(connection: Connection[Any], name: str, /, **values: Any) -> list[Any]:
    """Return all rows of a named statement."""
    statement = SQL[name]
    return await connection.fetch(statement.sql, *statement.values(values))


async def execute(connection: Connection[Any], name: str, /, **values: Any) -> int:
    """Execute a named statement; return how many rows it wrote."""
    statement = SQL[name]
    status = await connection.execute(statement.sql, *statement.values(values))
    *_, count = status.split()  # as in "DELETE 3"
    return int(count) if count.isdigit() else 0


_BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""Errors of a lost connection; asyncpg has some of its own.

A connection that the server closed while it was idle still seems open, and busy: an internal error.
"""
_UNUSABLE = (*_BROKEN, asyncpg.ReadOnlySQLTransactionError)
"""Errors after which a connection is closed. A server that is read-only, or a standby by now, may
become writable again, which only a new connection notices.
"""
_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_SERVER_UNAVAILABLE = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
)
"""Errors of a server that starts, stops, or has too many connections."""

CONFIGURATION_FAULTS = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
"""Errors of the address, or of how the database was created."""
_CREATE_HINT = "`createdb antiphon` makes a database; name it with --database."
_ADDRESS_HINT = (
    "`antiphon config` says where the address comes from; the server's log may say more."
)


def translate_error(fault: Exception) -> Exception:
    """Return the error of ours for an error of the database."""
    match fault:
        case AntiphonError():
            return fault
        case asyncpg.IntegrityConstraintViolationError():
            return Internal(f"The database refused the change: {fault.constraint_name}.")
        case asyncpg.CharacterNotInRepertoireError() | asyncpg.exceptions.DataError():
            return InvalidRequest(
                "The database cannot keep this.",
                expected="text without the character NUL, and numbers of 64 bits",
            )
        case TimeoutError():
            reason = "it took too long"
        case ConnectionRefusedError():
            reason = "nothing listens at its address"
        case _ if isinstance(fault, CONFIGURATION_FAULTS):
            return BadSettings(
                f"The database cannot be used: {fault}.",
                expected="postgresql://user:password@host/database, which this user may write",
                hint=_CREATE_HINT
                if isinstance(fault, asyncpg.InvalidCatalogNameError)
                else _ADDRESS_HINT,
            )
        case asyncpg.PostgresError():
            # Its text names tables and files, which belong in the server's own log.
            reason = f"it reports {type(fault).__name__} ({fault.sqlstate})"
        case _:
            reason = str(fault) or type(fault).__name__
    return Unavailable(
        f"The database does not answer: {reason}.",
        hint="If this lasts, look at PostgreSQL's log, and whether it takes more connections.",
    )


def make_closed_error() -> Unavailable:
    """Return the error for a call after `close`."""
    return Unavailable("The store is closed.")


def parse_address(address: str) -> tuple[str, bool]:
    """Return the address without our options, and whether PgBouncer is in front of the database."""
    parts = urlsplit(address)
    options = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: given for name, given in options if name == "pgbouncer"}
    if ours.get("pgbouncer", "false") not in ("true", "false"):
        raise BadSettings(
            "The `pgbouncer` in the database's address cannot be understood.",
            expected="pgbouncer=true or pgbouncer=false",
            received=f"pgbouncer={ours['pgbouncer']}",
        )
    query = urlencode([option for option in options if option[0] not in ours])
    return urlunsplit(parts._replace(query=query)), ours.get("pgbouncer") == "true"
