"""Moves everything from one database to another, of whatever kind, and looks whether it is there.

In bites, each noted in the target with its rows, so that a move that was killed goes on where it
was. At the end both are read again, whole, and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from antiphon.stores.dump import TABLES, Inventory, Row, Table
from antiphon.types.errors import Conflict


class Step(NamedTuple):
    """How far a move is: so many rows of all that there are, the last of them of that table."""

    doing: str
    table: str
    done: int
    of: int


class Progress(msgspec.Struct, frozen=True):
    """What the target notes: whose rows it takes, and up to where it has them."""

    source: str
    table: str
    place: tuple[Any, ...]
    done: int


class Plan(NamedTuple):
    """What a move has before it: rows of each table, and how many the target has from before."""

    counts: Mapping[str, int]
    done: int

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(self.counts.values())


Tell = Callable[[Step], None]


async def planned(source: Inventory, target: Inventory) -> Plan:
    """What is to be moved. Raises `Conflict` where one of them is not free for it."""
    if driven := await source.driven():
        raise Conflict(
            f"Runs of the source are being driven: {driven}.",
            expected="a database that no server uses",
            hint="Stop what serves it; a server that was killed is forgotten within a minute.",
        )
    counts = await source.counts()
    progress = _progress(await target.progress())
    if progress is None:
        _refuse_others(await target.counts())
        return Plan(counts, 0)
    if progress.source != await _identity(source):
        raise Conflict(
            "The target holds half of another database.",
            expected="an empty database, or one to which a move of this source was begun",
            hint="Name the source of that move, or empty the target.",
        )
    return Plan(counts, progress.done)


async def move(source: Inventory, target: Inventory, tell: Tell) -> Plan:
    """Move what the target lacks, and compare both. Raises `Conflict` where they differ.

    The source is held, and as it was at the end: nothing is taken away from it.
    """
    await source.hold()
    plan = await planned(source, target)
    moving = _Moving(source, target, plan, tell)
    await moving.everything()
    await moving.compare()
    await target.finish()
    return plan


class _Moving:
    def __init__(self, source: Inventory, target: Inventory, plan: Plan, tell: Tell) -> None:
        self._source = source
        self._target = target
        self._plan = plan
        self._tell = tell
        self._done = plan.done

    async def everything(self) -> None:
        noted = await self._target.progress()
        progress = _progress(noted)
        identity = await _identity(self._source)
        names = [table.name for table in TABLES]
        begun = names.index(progress.table) if progress else 0
        for table in TABLES[begun:]:
            place = progress.place if progress and progress.table == table.name else table.start
            while rows := await self._source.read(table, place):
                place = table.place(rows[-1])
                self._done += len(rows)
                now = msgspec.json.encode(Progress(identity, table.name, place, self._done))
                await self._target.write(table, rows, noted, now)
                noted = now
                self._tell(Step("moving", table.name, self._done, self._plan.rows))

    async def compare(self) -> None:
        """Every row of both, read once more. Raises `Conflict` where a table is not the same."""
        done = 0
        for table in TABLES:
            here, there = Digest(), Digest()
            for inventory, digest in ((self._source, here), (self._target, there)):
                place = table.start
                while rows := await inventory.read(table, place):
                    place = table.place(rows[-1])
                    digest.add(table, rows)
                    if digest is there:
                        done += len(rows)
                        self._tell(Step("comparing", table.name, done, self._plan.rows))
            if (here.rows, here.value) != (there.rows, there.value):
                raise _unlike(table, here, there)


class Digest:
    """What a table's rows come to, whatever kind of database holds them."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = blake2b(digest_size=32)

    @property
    def value(self) -> str:
        """The same where the rows are the same, in the same order."""
        return self._hash.hexdigest()

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """The next rows."""
        self.rows += len(rows)
        for row in rows:
            self._hash.update(msgspec.msgpack.encode(row[table.unlike :]))


def _unlike(table: Table, here: Digest, there: Digest) -> Conflict:
    return Conflict(
        f"The {table.name} of both databases are not the same.",
        expected=f"{here.rows} rows, digest {here.value[:16]}",
        received=f"{there.rows} rows, digest {there.value[:16]}",
        hint="The source has changed since the move was begun: empty the target and begin anew.",
    )


def _refuse_others(counts: Mapping[str, int]) -> None:
    others = {name: count for name, count in counts.items() if count and name != "installation"}
    if others:
        raise Conflict(
            "The target has data of its own.",
            expected="an empty database",
            received=", ".join(f"{count} {name}" for name, count in others.items()),
            hint="Make a new database; two cannot become one.",
        )


def _progress(noted: bytes | None) -> Progress | None:
    return None if noted is None else msgspec.json.decode(noted, type=Progress)


async def _identity(source: Inventory) -> str:
    """What tells this installation from others, without its secret: that, and its first thread."""
    digest = Digest()
    for table in TABLES:
        if table.name in ("installation", "threads"):
            digest.add(table, (await source.read(table, table.start))[:1])
    return digest.value
