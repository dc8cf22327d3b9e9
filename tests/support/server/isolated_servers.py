"""Several servers in this process on one database, whose buses are not connected.

A wake-up never reaches another server; with `lose_all` it does not reach the server's own readers
either. Servers then notice changes only by timeouts and by the store's clock.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from antiphon.buses.local import LocalBus
from antiphon.ports import Store
from antiphon.providers.catalog import Catalog
from antiphon.runtime.runtime import Runtime
from antiphon.settings.settings import Settings
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.invariants import system_clock
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.sqlite.store import SqliteStore
from tests.support.buses.unreliable import UnreliableBus
from tests.support.server.served import Served, serve
from tests.support.stores.databases import PATIENT


async def open_store(database: str, clock: Callable[[], int] | None = None) -> Store:
    """Open another store on the database; `clock` replaces the database's."""
    if database.startswith("sqlite"):
        path = Path(database.removeprefix("sqlite:///"))
        return await SqliteStore.open(path, clock=clock or system_clock)
    return await PostgresStore.open(database, clock=clock, timeouts=PATIENT)


@asynccontextmanager
async def run_isolated_servers(
    count: int,
    database: str,
    settings: Settings,
    *,
    clock: Callable[[], int] | None = None,
    lose_all: bool = False,
) -> AsyncGenerator[Sequence[Served]]:
    """Run this many servers, each with its own store on one database."""

    @asynccontextmanager
    async def open_isolated_runtime(settings: Settings) -> AsyncGenerator[Runtime]:
        store = CachedStore(await open_store(database, clock))
        bus = UnreliableBus(1, lost=1.0) if lose_all else LocalBus()
        catalog = Catalog(settings, os.environ)
        runtime = Runtime(settings, store, bus, catalog)  # type: ignore[arg-type]
        runtime.worker.start()
        try:
            yield runtime
        finally:
            await runtime.drain(0)
            await catalog.close()
            await store.close()

    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(serve(settings, open_isolated_runtime))
            for _ in range(count)
        ]
