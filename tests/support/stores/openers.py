"""Openers of the stores that share the conformance tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from antiphon.ports import Store
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.memory.store import MemoryStore
from antiphon.stores.sqlite.store import SqliteStore


class Clock:
    """A clock that shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


Opener = Callable[[Path, Clock], Awaitable[Store]]


async def memory(folder: Path, clock: Clock) -> Store:
    return MemoryStore(clock)


async def sqlite(folder: Path, clock: Clock) -> Store:
    return await SqliteStore.open(folder / "antiphon.db", clock=clock)


async def folding_sqlite(folder: Path, clock: Clock) -> Store:
    return await SqliteStore.open(folder / "antiphon.db", clock=clock, fresh_rows=1)


async def open_cached_memory(folder: Path, clock: Clock) -> Store:
    return CachedStore(await memory(folder, clock))


async def open_cached_sqlite(folder: Path, clock: Clock) -> Store:
    return CachedStore(await sqlite(folder, clock))


OPENERS: Mapping[str, Opener] = {
    opener.__name__: opener
    for opener in (memory, sqlite, folding_sqlite, open_cached_memory, open_cached_sqlite)
}
"""The openers of stores that need no server."""


@asynccontextmanager
async def open_store(opener: Opener, folder: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await opener(folder, clock)
    try:
        yield store
    finally:
        await store.close()
