"""The database of a test as the harness sees it, by statements of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from tests.support.harness import final
from tests.support.harness.final import Final


class Database(Protocol):
    """Database as the checks read it; `address` is its name in the servers' settings.

    Each look is one consistent read, which may be taken while others write.
    """

    address: str

    async def watch(self) -> None:
        """From now on the database itself notes every move of every run."""
        ...

    async def halves(self) -> list[str]:
        """Return the rows that are half done, of which there may be none."""
        ...

    async def unrest(self) -> list[str]:
        """The runs that somebody has to go on with."""
        ...

    async def load(self) -> Final:
        """Everything."""
        ...


class SqliteFile:
    """A database in one file."""

    def __init__(self, path: Path) -> None:
        self.address = f"sqlite:///{path}"
        self._path = path

    async def watch(self) -> None:
        """See `Database`."""
        await asyncio.to_thread(final.watch, self._path)

    async def halves(self) -> list[str]:
        """See `Database`."""
        return await asyncio.to_thread(final.halves, self._path)

    async def unrest(self) -> list[str]:
        """See `Database`."""
        return await asyncio.to_thread(final.unrest, self._path)

    async def load(self) -> Final:
        """See `Database`."""
        return await asyncio.to_thread(final.load, self._path)
