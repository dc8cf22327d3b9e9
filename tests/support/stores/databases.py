"""PostgreSQL databases for tests of stores, which are emptied and reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import asyncpg

from antiphon.ports import Store
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.postgres.connections import PoolTimeouts
from antiphon.stores.postgres.store import PostgresStore
from tests.support.services.postgres import Postgres

PATIENT = PoolTimeouts(call=60, connect=60, lock=60, idle_in_transaction=60)
"""Timeouts that a busy machine does not reach, for tests that do not test timeouts."""
_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
_TABLES += "AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'migrations'"


class Databases:
    """Databases of a server, one for each folder, that are emptied for the next folder."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._free: list[str] = []
        self._of_folder: dict[Path, str] = {}
        self._open: Counter[Path] = Counter()

    async def open(self, folder: Path, clock: Callable[[], int]) -> Store:
        """Open a store on the folder's database, which is empty at first."""
        if folder not in self._of_folder:
            self._of_folder[folder] = (
                self._free.pop() if self._free else await self._server.create()
            )
        store = await _PooledStore.open(self._of_folder[folder], clock=clock, timeouts=PATIENT)
        store.give_back = partial(self._give_back, folder, store)
        self._open[folder] += 1
        return store

    async def _give_back(self, folder: Path, store: _PooledStore) -> None:
        self._open[folder] -= 1
        if not self._open[folder]:
            await store.forget_everything()
            self._free.append(self._of_folder.pop(folder))

    async def open_cached(self, folder: Path, clock: Callable[[], int]) -> Store:
        """Open such a store behind a cache."""
        return CachedStore(await self.open(folder, clock))


class _PooledStore(PostgresStore):
    give_back: Callable[[], Awaitable[None]] | None = None

    async def forget_everything(self) -> None:
        await self._connections.run(_delete_all_rows)

    async def close(self) -> None:
        give_back, self.give_back = self.give_back, None
        if give_back is not None:
            await self._appender.flush()
            await give_back()
        await super().close()


async def _delete_all_rows(connection: asyncpg.Connection) -> None:
    tables = [name for (name,) in await connection.fetch(_TABLES)]
    await connection.execute("\n".join(f'DELETE FROM "{name}";' for name in tables))
