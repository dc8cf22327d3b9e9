"""Copy of a database to another one of any kind, table by table.

A database is opened as a `Dump`: rows that every kind of database can read and write. The columns
of a row are in `sql/*_moving.sql`, in the same order for each kind. Rows are copied in batches, and
the target stores its progress with each, so that a copy that was killed resumes where it was. At
the end both databases are read once more and compared.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from antiphon.types.errors import BadSettings, Conflict

Row: TypeAlias = tuple[Any, ...]


class Table(msgspec.Struct, frozen=True):
    """A table of a dump. Its rows are read in the order of their first columns, from `start` on.

    The first `unlike` of these columns only order the rows; their values differ between databases.
    `flags` are the places of columns that are true or false. `at_once` rows are copied in a batch.
    """

    name: str
    start: Row = (-1,)
    unlike: int = 1
    flags: tuple[int, ...] = ()
    at_once: int = 1000

    def place(self, row: Row) -> Row:
        """Return the place after which the next row is read."""
        return row[: len(self.start)]


TABLES: tuple[Table, ...] = (
    Table("installation", start=("",), unlike=0),
    Table("people", flags=(4,)),
    Table("keys"),
    Table("projects"),
    Table("provider_keys", start=("", ""), unlike=0),
    Table("personal", start=("",), unlike=0),
    Table("acts"),
    Table("webhooks", flags=(4, 5)),
    Table("deliveries", flags=(7,)),
    Table("schedules"),
    Table("occurrences"),
    Table("counters", start=("", ""), unlike=0),
    Table("spent", start=("", "", ""), unlike=0),
    Table("assistants"),
    Table("folders"),
    Table("files", at_once=4),
    Table("threads"),
    Table("messages"),
    Table("shares", at_once=20),
    Table("segments", start=("", -1), unlike=0, at_once=20),
    Table("runs", flags=(7, 14)),
    Table("actions"),
    Table("events", start=(-1, -1), at_once=500),
    Table("answers", start=("", "", ""), unlike=0),
)
"""All tables, in an order in which no row refers to a later one."""


class Dump(Protocol):
    """A database opened for a copy. Raises `Unavailable` when it cannot be reached."""

    async def lock(self) -> None:
        """Lock out other writers until `close`. Raises `Conflict` if there is one."""
        ...

    async def count_driven_runs(self) -> int:
        """Count the runs under the lease of a worker that has renewed it lately."""
        ...

    async def count_rows(self) -> Mapping[str, int]:
        """Count the rows of each table."""
        ...

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """Return the next rows after this place; none at the end."""
        ...

    async def progress(self) -> bytes | None:
        """Return the progress of an unfinished copy to here."""
        ...

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """Add the rows and store the progress, both or neither.

        Raises `Conflict` if the stored progress is not `before`.
        """
        ...

    async def finish(self) -> None:
        """Number new rows after the copied ones, and delete the progress."""
        ...

    async def close(self) -> None:
        """Close the database, and release its lock."""
        ...


class CopyStep(NamedTuple):
    """Progress of a copy: `done` of `of` rows of all tables, the last of them of `table`."""

    doing: str
    table: str
    done: int
    of: int


class CopyProgress(msgspec.Struct, frozen=True):
    """Progress as the target stores it: the source, and the last row that was copied."""

    source: str
    table: str
    place: tuple[Any, ...]
    done: int


class Plan(NamedTuple):
    """The rows of each table of the source, and how many rows the target has of them."""

    counts: Mapping[str, int]
    done: int

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(self.counts.values())


OnCopyStep = Callable[[CopyStep], None]


async def plan_copy(source: Dump, target: Dump) -> Plan:
    """Return what is to be copied. Raises `Conflict` if one of the databases is in use or full."""
    if driven := await source.count_driven_runs():
        raise Conflict(
            f"Runs of the source are being driven: {driven}.",
            expected="a database that no server uses",
            hint="Stop what serves it; a server that was killed is forgotten within a minute.",
        )
    counts = await source.count_rows()
    progress = _decode_progress(await target.progress())
    if progress is None:
        there = await target.count_rows()
        others = {name: count for name, count in there.items() if count and name != "installation"}
        if others:
            raise Conflict(
                "The target has data of its own.",
                expected="an empty database",
                received=", ".join(f"{count} {name}" for name, count in others.items()),
                hint="Make a new database; two cannot become one.",
            )
        return Plan(counts, 0)
    if progress.source != await _identify(source):
        raise Conflict(
            "The target holds half of another database.",
            expected="an empty database, or one to which a move of this source was started",
            hint="Name the source of that move, or empty the target.",
        )
    return Plan(counts, progress.done)


async def copy_database(source: Dump, target: Dump, on_step: OnCopyStep) -> Plan:
    """Copy the rows that the target lacks, and compare both. Raises `Conflict` if they differ.

    The source is locked, and not changed.
    """
    await source.lock()
    plan = await plan_copy(source, target)
    await _copy_rows(source, target, plan, on_step)
    await _compare(source, target, plan, on_step)
    await target.finish()
    return plan


async def _copy_rows(source: Dump, target: Dump, plan: Plan, on_step: OnCopyStep) -> None:
    stored = await target.progress()
    progress = _decode_progress(stored)
    identity = await _identify(source)
    done = plan.done
    names = [table.name for table in TABLES]
    for table in TABLES[names.index(progress.table) if progress else 0 :]:
        start = progress.place if progress and progress.table == table.name else table.start
        async with aclosing(_batches(source, table, start)) as batches:
            async for rows in batches:
                done += len(rows)
                now = CopyProgress(identity, table.name, table.place(rows[-1]), done)
                encoded = msgspec.json.encode(now)
                await target.write(table, rows, stored, encoded)
                stored = encoded
                on_step(CopyStep("moving", table.name, done, plan.rows))


async def _compare(source: Dump, target: Dump, plan: Plan, on_step: OnCopyStep) -> None:
    """Read every row of both once more. Raises `Conflict` if a table differs."""
    done = 0
    for table in TABLES:
        here, there = Digest(), Digest()
        for dump, digest in ((source, here), (target, there)):
            async with aclosing(_batches(dump, table, table.start)) as batches:
                async for rows in batches:
                    digest.add(table, rows)
                    if digest is there:
                        done += len(rows)
                        on_step(CopyStep("comparing", table.name, done, plan.rows))
        if (here.rows, here.value) != (there.rows, there.value):
            raise Conflict(
                f"The {table.name} of both databases are not the same.",
                expected=f"{here.rows} rows, digest {here.value[:16]}",
                received=f"{there.rows} rows, digest {there.value[:16]}",
                hint="The source has changed since the move started: "
                "empty the target and start again.",
            )


async def _batches(dump: Dump, table: Table, start: Row) -> AsyncGenerator[Sequence[Row], None]:
    place = start
    while rows := await dump.read(table, place):
        yield rows
        place = table.place(rows[-1])


class Digest:
    """Digest of a table's rows, the same for every kind of database."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = blake2b(digest_size=32)

    @property
    def value(self) -> str:
        """The digest, which depends on the rows and their order."""
        return self._hash.hexdigest()

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """Add the next rows."""
        self.rows += len(rows)
        for row in rows:
            self._hash.update(msgspec.msgpack.encode(row[table.unlike :]))


def _decode_progress(stored: bytes | None) -> CopyProgress | None:
    return None if stored is None else msgspec.json.decode(stored, type=CopyProgress)


async def _identify(source: Dump) -> str:
    """Return a digest that differs between installations: of the secret and the first thread."""
    digest = Digest()
    for table in TABLES:
        if table.name in ("installation", "threads"):
            digest.add(table, (await source.read(table, table.start))[:1])
    return digest.value


def wrong_schema(found: str, known: int) -> BadSettings:
    """Return the error for a source whose schema is not of this version."""
    return BadSettings(
        "The database has not this version's form.",
        expected=f"schema {known}",
        received=found,
        hint="`antiphon migrate --database ...` brings it to this form; nothing is lost.",
    )


def database_in_use() -> Conflict:
    """Return the error for a source that cannot be locked."""
    return Conflict(
        "Somebody writes to the database.",
        expected="a database that nobody uses",
        hint="Stop what serves it, and try again.",
    )


def concurrent_copy() -> Conflict:
    """Return the error for a copy that meets another one to the same database."""
    return Conflict(
        "Another move to this database is under way.",
        expected="one at a time",
        hint="Wait for it, or end it.",
    )


def make_unfinished_copy_error() -> BadSettings:
    """Return the error for using a database before a copy to it has ended."""
    return BadSettings(
        "A move to this database has not ended.",
        expected="a database that has everything",
        hint="Run the same `antiphon migrate --from ... --to ...` again: it continues.",
    )
