"""Migrations of a PostgreSQL database, and the partitions of its log by day."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import statements
from antiphon.stores.dump import make_unfinished_copy_error
from antiphon.stores.postgres.connections import execute, fetch_rows, fetch_value
from antiphon.stores.statements import Migration, SchemaVersion
from antiphon.types.errors import BadSettings

log = logging.getLogger(__name__)

KNOWN = statements.load_migrations("postgres")
DAY_MS = 86_400_000
RUN_BITS = 36  # of `runs.seq`; the bits above are the day on which the run began
DAY_RUNS = 1 << RUN_BITS
PARTS_AHEAD_DAYS = 7  # made ahead of time, in case none are made for a while
OLDEST_POSTGRES = 14  # the oldest supported version; it can detach concurrently


class Part(NamedTuple):
    """A partition of the log: the events of the runs that began on one day, counted from 1970.

    `attached` while it belongs to the log; `leaving` once detaching it has begun.
    """

    day: int
    attached: bool = True
    leaving: bool = False

    @property
    def table(self) -> str:
        """The name of its table."""
        return f"log_{self.day}"


async def schema(connection: Connection[Any], known: Sequence[Migration] = KNOWN) -> SchemaVersion:
    """Return the database's schema version, 0 if it is new; changes nothing.

    That is the number of its migrations, or that of the newest where it is of a later version.
    """
    there = await fetch_value(connection, "has_migrations")
    applied = await _find_applied(connection) if there else frozenset[int]()
    newest = max(applied, default=0)
    return SchemaVersion(newest if newest > len(known) else len(applied), len(known))


async def _find_applied(connection: Connection[Any]) -> frozenset[int]:
    """Return the numbers of the migrations that the database has had."""
    return frozenset(row[0] for row in await fetch_rows(connection, "applied_migrations"))


async def prepare(
    connection: Connection[Any],
    today: int,
    *,
    all_migrations: bool,
    known: Sequence[Migration] = KNOWN,
    moving: bool = False,
) -> None:
    """Migrate the database to this version, and make the parts of the coming days.

    Migrations that take long on a database in use run only with `all_migrations`. Raises
    `BadSettings` for a database that this version cannot use, or, except with `moving`, that a move
    has not finished filling.
    """
    _check_server_version(connection)
    found = (await schema(connection, known)).found
    if found < len(known):
        found = await _migrate(connection, known, all_migrations=all_migrations)
    if found > len(known):
        raise BadSettings(
            "The database was made by a newer version of Antiphon.",
            expected=f"schema {len(known)} or older",
            received=f"schema {found}",
            hint="Upgrade Antiphon, or use another database.",
        )
    if not moving and await fetch_value(connection, "unfinished_copy"):
        raise make_unfinished_copy_error()
    await _make_parts_at_start(connection, today)
    await _warn_of_settings(connection)


async def parts(connection: Connection[Any]) -> Sequence[Part]:
    """Return the parts of the log, oldest first."""
    return [Part(*each) for each in await fetch_rows(connection, "parts")]


async def make_parts(connection: Connection[Any], today: int) -> bool:
    """Make the missing parts for the runs of today and the coming days (days since 1970).

    Returns False if none is missing.
    """
    wanted = set(range(today, today + PARTS_AHEAD_DAYS + 1))
    if wanted <= {part.day for part in await parts(connection)}:
        return False
    async with connection.transaction():
        await _lock_migrations(connection)
        for day in sorted(wanted - {part.day for part in await parts(connection)}):
            await _make_part(connection, Part(day))
    return True


async def _make_parts_at_start(connection: Connection[Any], today: int) -> None:
    """Make missing parts; those of days ahead can wait while another process locks the log."""
    try:
        await make_parts(connection, today)
    except asyncpg.LockNotAvailableError:
        if today not in {part.day for part in await parts(connection)}:
            raise


async def drop_parts(connection: Connection[Any], before: int) -> None:
    """Drop the parts of days before this time (ms) of which every run's events are deleted.

    The time does not depend on the part's size, and readers of the log do not wait: the part is
    detached concurrently, and dropped when it is no longer read.
    """
    old = [part for part in await parts(connection) if part.day < before // DAY_MS]
    days = [part.day for part in old]
    kept: list[int] = await fetch_value(connection, "days_to_keep", days=days, before=0)
    for part in old:
        if part.day not in kept:
            with suppress(*_PART_IN_USE):
                if part.attached:
                    mode = "FINALIZE" if part.leaving else "CONCURRENTLY"
                    await connection.execute(
                        f'ALTER TABLE log DETACH PARTITION "{part.table}" {mode}'
                    )
                await connection.execute(f'DROP TABLE IF EXISTS "{part.table}"')


_PART_IN_USE = (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.UndefinedTableError)
"""Errors for a part that is still read, as by a backup, or that another process is dropping."""


async def _make_part(connection: Connection[Any], part: Part) -> None:
    """Create a table and attach it, so that readers and writers of the log do not wait."""
    await connection.execute(f'CREATE TABLE "{part.table}" (LIKE log INCLUDING ALL)')
    first, after = part.day * DAY_RUNS, (part.day + 1) * DAY_RUNS
    await connection.execute(
        f'ALTER TABLE log ATTACH PARTITION "{part.table}" FOR VALUES FROM ({first}) TO ({after})'
    )


async def _migrate(
    connection: Connection[Any], known: Sequence[Migration], *, all_migrations: bool
) -> int:
    """Apply missing migrations but for those that take long; return how many there are then.

    A migration does not need one before it that takes long, which may come later.
    """
    async with connection.transaction():
        await _lock_migrations(connection)
        await execute(connection, "migrations")
        applied = await _find_applied(connection)
        lacking = [migration for migration in known if migration.number not in applied]
        for migration in lacking:
            if not (migration.online and applied):
                await _apply(connection, migration, in_use=False, new=not applied)
    long = [migration for migration in lacking if migration.online and applied]
    if not long:
        return max(len(known), *applied, 0)
    if not all_migrations:
        log.warning("the database lacks %s: `antiphon migrate` makes it", long[0].name)
        return len(known) - len(long)
    await _migrate_in_use(connection, long)
    return len(known)


async def _migrate_in_use(connection: Connection[Any], lacking: Sequence[Migration]) -> None:
    """Apply these one by one, outside a transaction, beside readers and writers.

    An interrupted migration starts over, so it first drops what it has created.
    """
    await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
    await fetch_value(connection, "lock_online_migrations")
    try:
        for migration in lacking:
            if migration.number not in await _find_applied(connection):
                await _apply(connection, migration, in_use=True)
    finally:
        await fetch_value(connection, "unlock_online_migrations")
        await connection.execute("RESET statement_timeout; RESET lock_timeout")


async def _lock_migrations(connection: Connection[Any]) -> None:
    """Wait for other migrations to end; later locks of this transaction wait less."""
    await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2min'")
    await fetch_value(connection, "lock_migrations")
    await connection.execute("SET LOCAL lock_timeout = '5s'")


async def _apply(
    connection: Connection[Any], migration: Migration, *, in_use: bool, new: bool = False
) -> None:
    for statement in migration.statements:
        if new and statement.startswith("ANALYZE "):
            continue  # or the first statements are planned for tables that stay empty
        await connection.execute(statement if in_use else statement.replace(" CONCURRENTLY", ""))
    await execute(connection, "add_migration", number=migration.number, name=migration.name)


def _check_server_version(connection: Connection[Any]) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise BadSettings(
            "PostgreSQL is too old for this store.",
            expected=f"PostgreSQL {OLDEST_POSTGRES} or newer",
            received=f"PostgreSQL {version.major}.{version.minor}",
            hint="Upgrade the server, or name another one with --database.",
        )


async def _warn_of_settings(connection: Connection[Any]) -> None:
    (settings,) = await fetch_rows(connection, "settings")
    off = [name for name, setting in zip(_DURABLE, settings, strict=True) if setting == "off"]
    if off:
        log.warning(
            "PostgreSQL is set to %s: what is acknowledged may be lost when its machine fails",
            ", ".join(f"{name} = off" for name in off),
        )


_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
