"""How a PostgreSQL database is brought to its form, and how its log is parted into days."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from asyncpg.connection import Connection

from antiphon.stores import statements
from antiphon.stores.dump import half_moved
from antiphon.stores.postgres.connections import execute, fetch_rows, fetch_value
from antiphon.stores.statements import Migration, SchemaVersion
from antiphon.types.errors import BadSettings

log = logging.getLogger(__name__)

KNOWN = statements.load_migrations("postgres")
DAY_MS = 86_400_000
RUN_BITS = 36  # of `runs.seq`; what is above them is the day on which the run began
DAY_RUNS = 1 << RUN_BITS
PARTS_AHEAD_DAYS = (
    7  # parts that are there before they are needed, in case nobody makes any for long
)
OLDEST_POSTGRES = 14  # the oldest that is still looked after, and that detaches beside readers


class Part(NamedTuple):
    """A table with the events of the runs that began on one day, counted from 1970.

    `attached` while it is a part of the log; `leaving` when somebody began to detach it.
    """

    day: int
    attached: bool = True
    leaving: bool = False

    @property
    def table(self) -> str:
        """Its name."""
        return f"log_{self.day}"


async def schema(connection: Connection[Any]) -> SchemaVersion:
    """The form of the database, which is only read; 0 found where it is new."""
    there = await fetch_value(connection, "has_migrations")
    return SchemaVersion(
        await fetch_value(connection, "newest_migration") if there else 0, len(KNOWN)
    )


async def prepare(
    connection: Connection[Any],
    today: int,
    *,
    everything: bool,
    known: Sequence[Migration] = KNOWN,
    moving: bool = False,
) -> None:
    """Bring the database to this version's form, and make the parts of the coming days.

    What takes long on a database that is in use is left out, but for `everything`. Raises
    `BadSettings` for a database that this version cannot use, or that another has only partly been
    moved into, but to who is `moving` it.
    """
    _check_server_version(connection)
    found = (await schema(connection)).found
    if found < len(known):
        found = await _migrate(connection, known, everything=everything)
    if found > len(known):
        raise BadSettings(
            "The database was made by a newer version of Antiphon.",
            expected=f"schema {len(known)} or older",
            received=f"schema {found}",
            hint="Upgrade Antiphon, or use another database.",
        )
    if not moving and await fetch_value(connection, "half_moved"):
        raise half_moved()
    await _make_parts_at_start(connection, today)
    await _warn_of_settings(connection)


async def parts(connection: Connection[Any]) -> Sequence[Part]:
    """The parts of the log, oldest first."""
    return [Part(*each) for each in await fetch_rows(connection, "parts")]


async def make_parts(connection: Connection[Any], today: int) -> bool:
    """Make the parts for the runs of today and the coming days (days since 1970) that lack one.

    False where none is lacking.
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
    """What is lacking of the days ahead can wait while somebody else has taken hold of the log."""
    try:
        await make_parts(connection, today)
    except asyncpg.LockNotAvailableError:
        if today not in {part.day for part in await parts(connection)}:
            raise


async def drop_parts(connection: Connection[Any], before: int) -> None:
    """Drop the days that ended before this time (ms), and of which every run is forgotten.

    That takes no longer the more is in them, and readers of the log do not wait for it: a part is
    detached beside them, and gone when nobody reads it any more.
    """
    old = [part for part in await parts(connection) if part.day < before // DAY_MS]
    days = [part.day for part in old]
    kept: list[int] = await fetch_value(connection, "days_to_keep", days=days, before=0)
    for part in old:
        if part.day not in kept:
            with suppress(*_PART_IN_USE):
                await _drop_part(connection, part)


_PART_IN_USE = (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.UndefinedTableError)
"""What is said of a part that somebody still reads, as a backup does, or else is dropping."""


async def _drop_part(connection: Connection[Any], part: Part) -> None:
    if part.attached:
        how = "FINALIZE" if part.leaving else "CONCURRENTLY"
        await connection.execute(f'ALTER TABLE log DETACH PARTITION "{part.table}" {how}')
    await connection.execute(f'DROP TABLE IF EXISTS "{part.table}"')


async def _make_part(connection: Connection[Any], part: Part) -> None:
    """Attached, and not made as a part: nobody who reads or writes the log has to wait."""
    await connection.execute(f'CREATE TABLE "{part.table}" (LIKE log INCLUDING ALL)')
    first, after = part.day * DAY_RUNS, (part.day + 1) * DAY_RUNS
    await connection.execute(
        f'ALTER TABLE log ATTACH PARTITION "{part.table}" FOR VALUES FROM ({first}) TO ({after})'
    )


async def _migrate(
    connection: Connection[Any], known: Sequence[Migration], *, everything: bool
) -> int:
    """Apply what the database lacks, up to what takes long; returns how far that was."""
    async with connection.transaction():
        await _lock_migrations(connection)
        await execute(connection, "migrations")
        found = int(await fetch_value(connection, "newest_migration"))
        new = found == 0
        for migration in known[found:]:
            if migration.online and not new:
                break
            await _apply(connection, migration, in_use=False)
            found = migration.number
    lacking = known[found:]
    if not lacking:
        return found
    if not everything:
        log.warning("the database lacks %s: `antiphon migrate` makes it", lacking[0].name)
        return found
    return await _migrate_in_use(connection, lacking)


async def _migrate_in_use(connection: Connection[Any], lacking: Sequence[Migration]) -> int:
    """Apply the rest one by one, those that are made beside readers and writers on their own.

    One that was broken off begins again, so it first drops what it has made.
    """
    await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
    await fetch_value(connection, "lock_online_migrations")
    try:
        for migration in lacking:
            if migration.number > await fetch_value(connection, "newest_migration"):
                await _apply(connection, migration, in_use=True)
    finally:
        await fetch_value(connection, "unlock_online_migrations")
        await connection.execute("RESET statement_timeout; RESET lock_timeout")
    return lacking[-1].number


async def _lock_migrations(connection: Connection[Any]) -> None:
    """Wait for others who change the form; what this transaction then locks it waits for less."""
    await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2min'")
    await fetch_value(connection, "lock_migrations")
    await connection.execute("SET LOCAL lock_timeout = '5s'")


async def _apply(connection: Connection[Any], migration: Migration, *, in_use: bool) -> None:
    for statement in migration.statements:
        beside = in_use and migration.online
        await connection.execute(statement if beside else statement.replace(" CONCURRENTLY", ""))
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
