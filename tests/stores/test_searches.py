"""Searches run in a fair order, and each ends in time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from antiphon.engine.snapshot import ChangeSet, ReadSet
from antiphon.ports import Store
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.search_queue import SearchQueue
from antiphon.stores.sqlite.file import DatabaseFile
from antiphon.stores.sqlite.reader_pool import ReaderPool
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.errors import Overloaded
from antiphon.types.runs import Thread
from tests.support.services.postgres import Postgres

DEADLINE = 60.0


async def test_an_owners_searches_follow_one_another_and_others_go_beside() -> None:
    searches = SearchQueue(at_once=2, seconds=DEADLINE)
    order: list[str] = []
    go = asyncio.Event()

    async def search(owner: str, name: str) -> None:
        async with searches.turn(owner):
            order.append(name)
            await go.wait()

    async with asyncio.TaskGroup() as group:
        for owner, name in (("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1")):
            group.create_task(search(owner, name))
        for owner, name in (("bob", "b2"), ("cem", "c1")):
            group.create_task(search(owner, name))
        for _ in range(20):
            await asyncio.sleep(0)
        assert order == ["a1", "b1"]
        go.set()

    assert order[2] == "c1"  # an owner without a turn comes before owners who have had one
    assert sorted(order[3:]) == ["a2", "a3", "b2"]


async def test_who_waits_too_long_for_a_turn_is_told_so_and_keeps_nobody_waiting() -> None:
    searches = SearchQueue(at_once=1, seconds=0.05)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(searches.turn("ann"))
        for owner in ("ann", "bob"):
            with pytest.raises(Overloaded) as refused:
                await stack.enter_async_context(searches.turn(owner))
            assert refused.value.details["retry_after"]
    async with searches.turn("bob"), asyncio.timeout(DEADLINE):
        await asyncio.sleep(0.1)  # a search may take longer than the wait for a turn


async def sqlite(folder: Path, _: pytest.FixtureRequest) -> Store:
    return await SqliteStore.open(folder / "antiphon.db", search_seconds=1e-6)


async def postgres(_: Path, request: pytest.FixtureRequest) -> Store:
    server: Postgres = request.getfixturevalue("postgres")
    return await PostgresStore.open(await server.create(), search_seconds=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("opener", [sqlite, postgres])
async def test_a_search_that_takes_too_long_is_broken_off(
    opener: Callable[[Path, pytest.FixtureRequest], Awaitable[Store]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    store = await opener(tmp_path, request)
    try:
        for number in range(400):
            thread = Thread(id=f"thread_{number}", title="x", created_at=1, updated_at=1)
            change = ChangeSet(thread=thread, owner="ann")
            await store.change(ReadSet(owner="ann"), lambda _, change=change: change)

        with pytest.raises(Overloaded, match="broken off"):
            await store.list(Thread, "ann", limit=9, query="nowhere")
        page = await store.list(Thread, "ann", limit=9)
    finally:
        await store.close()

    assert len(page.data) == 9


async def test_a_search_whose_caller_has_left_holds_its_thread_no_longer(tmp_path: Path) -> None:
    (tmp_path / "any.db").touch()
    readers = ReaderPool(DatabaseFile(tmp_path / "any.db"), 1, "search")
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def search_without_end(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        ).fetchone()

    try:
        search = asyncio.create_task(readers.run(search_without_end, DEADLINE))
        await started.wait()
        search.cancel()
        async with asyncio.timeout(DEADLINE / 2):
            assert await readers.run(lambda _: "the next one") == "the next one"
    finally:
        await readers.close()
