"""Connections to PostgreSQL, and what a caller is told when it does not answer.

A statement is never broken off because its caller went away: the connection would be lost with it.
What does not answer in time is given up, and its connection with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import statements
from antiphon.types.errors import AntiphonError, BadSettings, Internal, InvalidRequest, Unavailable

# The statements of PostgreSQL: written with names, sent with numbers.


_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")


class Statement(NamedTuple):
    """SQL with `$1`, `$2`, ..., and the names of the values that belong there."""

    sql: str
    names: tuple[str, ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The values in the order of their numbers; a name that is not given is an error."""
        return [given[name] for name in self.names]


def number_parameters(sql: str) -> Statement:
    """The statement with each `:name` as a number, the same one wherever it occurs."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return Statement(_PARAMETER.sub(lambda found: numbers[found[1]], sql), names)


NAMED_SQL = statements.load_statements("postgres")
SQL: Mapping[str, Statement] = {name: number_parameters(sql) for name, sql in NAMED_SQL.items()}


@cache
def change_statement(seen: tuple[str, ...], pieces: tuple[str, ...]) -> Statement:
    """The one statement that writes a change which consists of these pieces, in this order.

    `seen` are the tables of which a row was read that must still be as it was.
    """
    follows = {
        "seen": _unchanged_sql(seen),
        "after_cut": NAMED_SQL["change_after_cut"] if "cut" in pieces else "",
        "after_move": NAMED_SQL["change_after_move"] if "moved" in pieces else "",
    }
    parts = [NAMED_SQL[f"change_{piece}"].format(**follows) for piece in ("passed", *pieces)]
    return number_parameters("WITH " + ",\n".join(parts) + "\n" + NAMED_SQL["change_end"])


def _unchanged_sql(seen: tuple[str, ...]) -> str:
    conditions = "\nAND ".join(NAMED_SQL[f"seen_{table}"] for table in seen)
    return f"FROM {', '.join(seen)} WHERE {conditions} FOR UPDATE" if seen else ""


T = TypeVar("T")

CALL_SECONDS = 1.8  # an answer that takes longer is none: callers are promised a refusal within two
CONNECT_SECONDS = 1.5  # so that a server that takes no connections is noticed within the same
RECONNECT_SECONDS = 0.1
BACKGROUND_SECONDS = (
    8.0  # for what nobody waits for: streams rather stop for a while than begin anew
)
PREPARED_STATEMENTS = 256  # statements that a connection keeps prepared

SERVER_SETTINGS: Mapping[str, str] = {
    "application_name": "antiphon",
    # What is acknowledged waits for the disk, whatever the database is set to; what may be lost
    # says so itself.
    "synchronous_commit": "on",
    "lock_timeout": "1500",
    "statement_timeout": "30000",  # of a client that is gone; those that wait have given up before
    "idle_in_transaction_session_timeout": "3000",  # a client that froze holds nobody up
    # Each statement is made for its index, and planned once for a connection's life. A table that
    # is small then, or of which nothing is known, would be read whole, and later on still.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class ConnectionPool:
    """As many connections as may be, made when they are needed."""

    def __init__(self, address: str, most: int) -> None:
        self._address, self._pooled = parse_address(address)
        self._idle: list[Connection[Any]] = []
        self._max_connections = most
        self._slots = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._connect_fault: Exception | None = (
            None  # why there is no connection, until there is one
        )

    def count_by_state(self) -> Mapping[str, int]:
        """How many are busy and idle, and how many works wait for one."""
        busy = min(len(self._tasks), self._max_connections)
        return {"busy": busy, "idle": len(self._idle), "waiting": len(self._tasks) - busy}

    async def run(
        self,
        work: Callable[[Connection[Any]], Awaitable[T]],
        seconds: float = CALL_SECONDS,
        repeatable: Callable[[], bool] = lambda: False,
    ) -> T:
        """Do the work with a connection of its own, to its end, even if nobody waits any more.

        While it is `repeatable` a connection that breaks is replaced, and the work done anew.
        Raises `Unavailable` where the database does not answer within so many seconds.
        """
        if self._closed:
            raise closed_error()
        task = asyncio.create_task(self._run_with_retry(work, seconds, repeatable))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        await asyncio.wait([task])
        if task.cancelled():
            raise closed_error()
        return task.result()

    async def connect(self) -> Connection[Any]:
        """A connection for somebody who closes it. Raises what `asyncpg.connect` does."""
        return await asyncpg.connect(
            self._address,
            timeout=CONNECT_SECONDS,
            # PgBouncer would give the next statement to another of its own connections.
            statement_cache_size=0 if self._pooled else PREPARED_STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings=None if self._pooled else dict(SERVER_SETTINGS),
        )

    async def close(self) -> None:
        """Finish what was asked for, and let go of the connections.

        A server that does not answer holds nobody up: what takes longer than an answer may, as
        clearing up does, is broken off.
        """
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CALL_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*map(_close, self._idle))
        self._idle.clear()

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # which whoever still waits is told

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
            connection.terminate()  # whatever it still does, nobody is told
            raise
        finally:
            if not connection.is_closed():
                self._idle.append(connection)

    async def _acquire(self) -> Connection[Any]:
        """One that is there, or a new one, for which a server that starts again is waited for."""
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
    """The first row, or None."""
    return await connection.fetchrow(statement.sql, *statement.values(values))


async def fetch_value(connection: Connection[Any], name: str, /, **values: Any) -> Any:
    """The first value of a named statement's first row."""
    statement = SQL[name]
    return await connection.fetchval(statement.sql, *statement.values(values))


async def fetch_rows(connection: Connection[Any], name: str, /, **values: Any) -> list[Any]:
    """All rows of a named statement."""
    statement = SQL[name]
    return await connection.fetch(statement.sql, *statement.values(values))


async def execute(connection: Connection[Any], name: str, /, **values: Any) -> None:
    """Carry out a named statement."""
    statement = SQL[name]
    await connection.execute(statement.sql, *statement.values(values))


_BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""What a connection ends with; asyncpg has its own errors for one that was lost.

One that was told its end while it was idle seems to be open still, and busy: an internal error.
"""
_UNUSABLE = (*_BROKEN, asyncpg.ReadOnlySQLTransactionError)
"""What no connection is kept after. Its server was told to be read-only when it began, or is a
standby by now; where it is to be written to again, only a new one learns that.
"""
_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_SERVER_UNAVAILABLE = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
)
"""What a server says, or does not, that starts, ends, or has too many connections."""

CONFIGURATION_FAULTS = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
"""What the address, or who made the database, is to blame for."""
_CREATE_HINT = "`createdb antiphon` makes a database; name it with --database."
_ADDRESS_HINT = (
    "`antiphon config` says where the address comes from; the server's log may say more."
)


def translate_error(fault: Exception) -> Exception:
    """A database's fault as what the caller can do about it."""
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
            said = "it took too long"
        case ConnectionRefusedError():
            said = "nothing listens at its address"
        case _ if isinstance(fault, CONFIGURATION_FAULTS):
            return BadSettings(
                f"The database cannot be used: {fault}.",
                expected="postgresql://user:password@host/database, which this user may write",
                hint=_CREATE_HINT
                if isinstance(fault, asyncpg.InvalidCatalogNameError)
                else _ADDRESS_HINT,
            )
        case asyncpg.PostgresError():
            # Its words tell of tables and files, which is for its own log.
            said = f"it reports {type(fault).__name__} ({fault.sqlstate})"
        case _:
            said = str(fault) or type(fault).__name__
    return Unavailable(
        f"The database does not answer: {said}.",
        hint="If this lasts, look at PostgreSQL's log, and whether it takes more connections.",
    )


def closed_error() -> Unavailable:
    """The error for whoever comes after the close."""
    return Unavailable("The store is closed.")


def parse_address(address: str) -> tuple[str, bool]:
    """The address without what is ours in it, and whether a pooler stands before the database."""
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
