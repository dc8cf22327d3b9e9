"""The database of a test as the harness reads it, with its own statements."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from tests.support.harness import final_state
from tests.support.harness.final_state import FinalState


class Database(Protocol):
    """Database as the checks read it; `address` is its name in the servers' settings.

    Each call is one consistent read, also while others write.
    """

    address: str

    async def record_transitions(self) -> None:
        """Create the triggers that record every transition of a run from now on."""
        ...

    async def find_half_done(self) -> list[str]:
        """Return half-done rows; there must be none."""
        ...

    async def list_unfinished_runs(self) -> list[str]:
        """Return the ids of runs that a worker has to continue."""
        ...

    async def load(self) -> FinalState:
        """Read the whole state."""
        ...


class SqliteFile:
    """A database in one file."""

    def __init__(self, path: Path) -> None:
        self.address = f"sqlite:///{path}"
        self._path = path

    async def record_transitions(self) -> None:
        """See `Database`."""
        await asyncio.to_thread(final_state.record_transitions, self._path)

    async def find_half_done(self) -> list[str]:
        """See `Database`."""
        return await asyncio.to_thread(final_state.find_half_done, self._path)

    async def list_unfinished_runs(self) -> list[str]:
        """See `Database`."""
        return await asyncio.to_thread(final_state.list_unfinished_runs, self._path)

    async def load(self) -> FinalState:
        """See `Database`."""
        return await asyncio.to_thread(final_state.load, self._path)
