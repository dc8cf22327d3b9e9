"""Troubles of a PostgreSQL server that the store survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from antiphon.stores.postgres.migrations import PARTS_AHEAD_DAYS
from antiphon.stores.postgres.store import PostgresStore
from antiphon.types import errors
from tests.support.services.postgres import Postgres
from tests.support.stores.steps import add_claimed, add_thread, append, whole_log

READ_ONLY = "ALTER DATABASE {0} SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE {0} RESET default_transaction_read_only"
END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

NEWEST_PARTS = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^log_[0-9]+$' ORDER BY 1 DESC"
)

WAITING = (
    "SELECT query_start FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
SOON = 60.0


@pytest.fixture
async def address(postgres: Postgres) -> str:
    return await postgres.create()


@asynccontextmanager
async def connect_as_administrator(address: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection that may write even if the database is read-only."""
    settings = {"default_transaction_read_only": "off"}
    connection = await asyncpg.connect(address, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_database_that_was_read_only_for_a_while_is_written_again(address: str) -> None:
    database = address.rpartition("/")[2]
    store = await PostgresStore.open(address)
    async with connect_as_administrator(address) as administrator:
        await administrator.execute(READ_ONLY.format(database))
        await administrator.execute(END_ALL)
        for number in range(3):
            with pytest.raises(errors.Unavailable, match="ReadOnly"):
                await add_thread(store, number)
        await administrator.execute(WRITABLE.format(database))

    await add_thread(store)
    await store.close()


async def test_a_store_opens_while_somebody_else_looks_after_the_log(address: str) -> None:
    await (await PostgresStore.open(address)).close()
    async with connect_as_administrator(address) as administrator:
        for (part,) in (await administrator.fetch(NEWEST_PARTS))[:3]:
            await administrator.execute(f"DROP TABLE {part}")
        async with administrator.transaction():
            await administrator.execute("LOCK TABLE log IN SHARE UPDATE EXCLUSIVE MODE")  # ANALYZE
            store = await PostgresStore.open(address)

    await add_thread(store)
    await store.delete_expired(events_before=0, keys_before=0)
    async with connect_as_administrator(address) as administrator:
        assert len(await administrator.fetch(NEWEST_PARTS)) == PARTS_AHEAD_DAYS + 1
    await store.close()


async def test_an_append_outlasts_somebody_who_holds_what_it_writes(address: str) -> None:
    store = await PostgresStore.open(address)
    claim = await add_claimed(store)
    async with (
        connect_as_administrator(address) as administrator,
        connect_as_administrator(address) as observer,
    ):
        async with administrator.transaction():
            await administrator.execute("LOCK TABLE drives IN ACCESS EXCLUSIVE MODE")
            appending = asyncio.create_task(append(store, claim, 3, "said meanwhile"))
            for _ in range(2):  # the store gives up the first try
                await wait_for_new_lock_wait(observer)
        await appending

    assert len(await whole_log(store, claim.run.id)) == 3
    await store.close()


async def wait_for_new_lock_wait(observer: asyncpg.Connection) -> None:
    """Wait until another statement than before waits for a lock."""
    before = await observer.fetch(WAITING)
    async with asyncio.timeout(SOON):
        while await observer.fetch(WAITING) in ([], before):
            await asyncio.sleep(0.02)  # the database has no notification of this
