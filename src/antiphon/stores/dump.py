"""What a database holds, table by table, as rows that every kind of database can give and take.

By it a database is moved from one kind to another. The columns of a row are in `sql/*_moving.sql`,
in the same order for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from antiphon.types.errors import BadSettings, Conflict

Row: TypeAlias = tuple[Any, ...]


class Table(msgspec.Struct, frozen=True):
    """One of them. Rows are read in the order of their first columns, those behind `start`.

    The first `unlike` of these only order the rows, and each kind of database has its own. `flags`
    are columns that are true or false. So many rows are moved `at_once`.
    """

    name: str
    start: Row = (-1,)
    unlike: int = 1
    flags: tuple[int, ...] = ()
    at_once: int = 1000

    def place(self, row: Row) -> Row:
        """What the rows behind this one are behind of."""
        return row[: len(self.start)]


TABLES: tuple[Table, ...] = (
    Table("installation", start=("",), unlike=0),
    Table("people", flags=(4,)),
    Table("keys"),
    Table("projects"),
    Table("provider_keys", start=("", ""), unlike=0),
    Table("acts"),
    Table("counters", start=("", ""), unlike=0),
    Table("spent", start=("", "", ""), unlike=0),
    Table("assistants"),
    Table("files", at_once=4),
    Table("threads"),
    Table("messages"),
    Table("segments", start=("", -1), unlike=0, at_once=20),
    Table("runs", flags=(7, 14)),
    Table("actions"),
    Table("events", start=(-1, -1), at_once=500),
    Table("answers", start=("", "", ""), unlike=0),
)
"""In an order in which no row refers to one that comes later."""


class Inventory(Protocol):
    """A database laid open. Raises `Unavailable` when it cannot be reached."""

    async def hold(self) -> None:
        """From now on nobody else writes here, until the end. Raises `Conflict` where they do."""
        ...

    async def driven(self) -> int:
        """How many runs a worker that was heard of lately has in its hands."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """How many rows each table has."""
        ...

    async def read(self, table: Table, after: Row) -> Sequence[Row]:
        """The next rows behind this place; none at the end."""
        ...

    async def progress(self) -> bytes | None:
        """How far a move to here has come; None where there is none under way."""
        ...

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        """Add the rows, and note the progress with them: both or neither.

        Raises `Conflict` where the progress is not what it was `before`.
        """
        ...

    async def finish(self) -> None:
        """All is here: go on counting where the rows end, and note that nothing is under way."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


def another() -> Conflict:
    """The error for a move that meets another one to the same database."""
    return Conflict(
        "Another move to this database is under way.",
        expected="one at a time",
        hint="Wait for it, or end it.",
    )


def half_moved() -> BadSettings:
    """The error for using a database before a move to it has ended."""
    return BadSettings(
        "A move to this database has not ended.",
        expected="a database that has everything",
        hint="Give the same `antiphon migrate --from ... --to ...` again: it goes on where it was.",
    )
