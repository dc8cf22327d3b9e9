"""Contexts that processes share through Redis: it may be empty, stale, false, slow or dead.

Guarantees G22 and G24.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import ReadSet
from antiphon.stores.cached import shared
from antiphon.stores.cached.redis import EXPIRY_SECONDS, RedisContextBackend
from antiphon.stores.cached.shared import MAX_CONTEXT_BYTES, SharedContextCache
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.runs import Thread
from tests.support.services.fault_proxy import BOTH, FaultProxy, Way
from tests.support.services.redis import Redis
from tests.support.stores.openers import Clock
from tests.support.stores.steps import a_message, add_thread, say

SOON = 30.0
SECRET = b"s" * 32


class Database(MemoryStore):
    """The one that all processes have; counts what is read of it."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.contexts = 0
        self.versions = 0

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        self.contexts += 1
        return await super().context(thread_id, fresh=fresh)

    async def thread_version(self, thread_id: str) -> int:
        self.versions += 1
        return await super().thread_version(thread_id)

    async def close(self) -> None:
        """Other processes still have it."""


class Shelf(RedisContextBackend):
    """Counts what it is asked for, and tells when something was put or dropped.

    What it is to put waits until it `may_put`.
    """

    def __init__(self, address: str, installation: str) -> None:
        super().__init__(address, installation)
        self.asked = 0
        self.putting, self.was_put, self.was_dropped = (asyncio.Event() for _ in range(3))
        self.may_put = asyncio.Event()
        self.may_put.set()

    async def get(self, thread_id: str, version: int) -> bytes | None:
        self.asked += 1
        return await super().get(thread_id, version)

    async def put(self, thread_id: str, version: int, kept: bytes) -> None:
        self.putting.set()
        await self.may_put.wait()
        await super().put(thread_id, version, kept)
        self.was_put.set()

    async def drop(self, thread_id: str) -> None:
        await super().drop(thread_id)
        self.was_dropped.set()


class Installation:
    """Processes that have one database and, by what they are given, one Redis."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = secrets.token_hex(4)
        self.database = Database()
        self.stack = AsyncExitStack()

    def process(
        self, address: str | None = None, secret: bytes = SECRET, **options: Any
    ) -> tuple[CachedStore, Shelf]:
        """A store as a process has it, which remembers nothing itself, and its shelf."""
        shelf = Shelf(address or self.address, self.name)
        store = CachedStore(
            self.database, SharedContextCache(shelf, secret, **options), max_bytes=0
        )
        self.stack.push_async_callback(store.close)
        return store, shelf

    async def share(self, thread_id: str = "thread_1") -> None:
        """Some process has read the thread and shared it."""
        store, shelf = self.process()
        async with asyncio.timeout(SOON):
            while not await self.keys(thread_id):
                shelf.was_put.clear()
                await store.context(thread_id, fresh=True)
                await shelf.was_put.wait()
        self.database.contexts = self.database.versions = 0

    async def keys(self, thread_id: str = "*") -> list[bytes]:
        """Return the keys in Redis."""
        async with Client.from_url(self.address) as client:
            found: list[bytes] = await client.keys(f"antiphon:{self.name}:context:{thread_id}")
            return found

    async def do(self, *command: Any) -> Any:
        """Something in Redis behind everybody's back."""
        async with Client.from_url(self.address) as client:
            return await client.execute_command(*command)

    def key(self, thread_id: str = "thread_1") -> str:
        return f"antiphon:{self.name}:context:{thread_id}"


@pytest.fixture
async def installation(redis: Redis, patient_cache: None) -> AsyncIterator[Installation]:
    made = Installation(redis.address)
    async with made.stack:
        await add_thread(made.database)
        await made.database.change(ABOUT, say(a_message(1, "canary")))
        yield made


@pytest.fixture
def proxy(redis: Redis) -> Iterator[FaultProxy]:
    proxy = FaultProxy(redis.port).start()
    yield proxy
    proxy.stop()


ABOUT = ReadSet(owner="ann", thread_id="thread_1")


def far(proxy: FaultProxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def test_what_one_process_has_read_another_need_not_read(installation: Installation) -> None:
    await installation.share()
    store, _ = installation.process()

    assert b"canary" in (await store.context("thread_1")).chat
    assert installation.database.contexts == 0


async def test_what_is_shared_is_the_same_to_the_last_landmark(installation: Installation) -> None:
    told = say(a_message(2, "be kind", role="system"), a_message(3, "ü\u2028" * 100))
    await installation.database.change(ABOUT, told)
    await installation.share()
    store, _ = installation.process()

    assert await store.context("thread_1") == await installation.database.context("thread_1")


async def test_a_context_of_an_older_version_is_not_believed(installation: Installation) -> None:
    await installation.share()
    await installation.database.change(ABOUT, say(a_message(2, "news")))
    store, _ = installation.process()

    assert b"news" in (await store.context("thread_1")).chat
    assert installation.database.contexts == 1


async def test_a_fresh_context_is_not_asked_of_others(installation: Installation) -> None:
    await installation.share()
    store, shelf = installation.process()
    await store.context("thread_1", fresh=True)

    assert installation.database.contexts == 1
    assert not shelf.asked


async def test_a_thread_is_there_once_and_for_some_minutes(installation: Installation) -> None:
    await installation.share()
    await installation.database.change(ABOUT, say(a_message(2, "news")))
    store, shelf = installation.process()
    await store.context("thread_1")
    await shelf.was_put.wait()

    assert await installation.do("HKEYS", installation.key()) == [b"2"]
    assert 0 < await installation.do("TTL", installation.key()) <= EXPIRY_SECONDS


async def test_a_context_that_is_large_is_not_shared(installation: Installation) -> None:
    await installation.database.change(ABOUT, say(a_message(2, "x" * MAX_CONTEXT_BYTES)))
    store, shelf = installation.process()
    await store.context("thread_1")
    await add_thread(store, 2)
    await store.context("thread_2")
    await shelf.was_put.wait()

    assert await installation.keys() == [installation.key("thread_2").encode()]


async def test_a_flushed_redis_changes_only_who_is_asked(installation: Installation) -> None:
    await installation.share()
    await installation.do("DEL", installation.key())
    store, _ = installation.process()

    assert b"canary" in (await store.context("thread_1")).chat
    assert installation.database.contexts == 1


async def test_nobody_elses_bytes_are_taken_for_a_context(installation: Installation) -> None:
    await installation.share()
    await add_thread(installation.database, 2)
    await installation.database.change(
        ReadSet(owner="ann", thread_id="thread_2"), say(a_message(1, "of another", "thread_2"))
    )
    await installation.share("thread_2")
    theirs = await installation.do("HGET", installation.key("thread_2"), "1")
    ours = await installation.do("HGET", installation.key(), "1")
    forged = (
        *(b"", b"\0" * 1000, b"canary", ours[:-1], ours[:31], ours + b"x", theirs),
        ours.replace(b"canary", b"forged"),
    )
    for bytes_there in forged:
        await installation.do("DEL", installation.key())
        await installation.do("HSET", installation.key(), "1", bytes_there)
        store, _ = installation.process()

        assert await store.context("thread_1") == await MemoryStore.context(
            installation.database, "thread_1"
        )
    assert installation.database.contexts == len(forged)


async def test_a_true_context_under_another_version_is_not_believed(
    installation: Installation,
) -> None:
    await installation.share()
    ours = await installation.do("HGET", installation.key(), "1")
    await installation.database.change(ABOUT, say(a_message(2, "news")))
    await installation.do("HSET", installation.key(), "2", ours)
    store, _ = installation.process()

    assert b"news" in (await store.context("thread_1")).chat


async def test_an_installation_with_another_secret_believes_nothing(
    installation: Installation,
) -> None:
    await installation.share()
    store, _ = installation.process(secret=b"t" * 32)
    await store.context("thread_1")

    assert installation.database.contexts == 1


async def test_a_key_of_another_kind_is_no_fault(installation: Installation) -> None:
    await installation.do("SET", installation.key(), "a text")
    store, _ = installation.process()

    assert b"canary" in (await store.context("thread_1")).chat


async def test_a_deleted_thread_is_gone_from_redis_at_once(installation: Installation) -> None:
    await installation.share()
    store, _ = installation.process()
    await store.delete(Thread, "ann", "thread_1")

    assert not await installation.keys()
    with pytest.raises(errors.NotFound):
        await store.context("thread_1")


async def test_a_thread_that_is_deleted_while_it_is_being_shared_does_not_stay_there(
    installation: Installation,
) -> None:
    reader, late = installation.process()
    late.may_put.clear()
    async with asyncio.timeout(SOON):
        while not late.putting.is_set():  # a slow answer of Redis suspends the cache for a while
            await reader.context("thread_1")
            await asyncio.sleep(0)
    store, _ = installation.process()
    await store.delete(Thread, "ann", "thread_1")
    late.may_put.set()
    async with asyncio.timeout(SOON):
        await late.was_dropped.wait()

    assert not await installation.keys()


async def test_a_thread_is_deleted_from_redis_also_after_it_failed(
    installation: Installation, proxy: FaultProxy
) -> None:
    await installation.share()
    store, _ = installation.process(far(proxy))
    proxy.refuse()
    await store.context("thread_1")
    proxy.heal()
    await store.delete(Thread, "ann", "thread_1")

    assert not await installation.keys()


async def test_an_erased_owner_leaves_nothing_in_redis(installation: Installation) -> None:
    await installation.share()
    await installation.do("SET", f"antiphon:{installation.name}x:context:thread_1", "another's")
    store, _ = installation.process()
    while await store.delete_owned("ann", 100):
        pass

    assert not await installation.keys()
    assert await installation.do("DEL", f"antiphon:{installation.name}x:context:thread_1") == 1


async def test_a_slow_redis_delays_nobody_long_and_is_then_left_in_peace(
    installation: Installation, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installation.share()
    store, shelf = installation.process(far(proxy), backoff=(3_600.0, 3_600.0))
    proxy.stall()
    monkeypatch.setattr(shared, "GET_SECONDS", 0.05)
    async with asyncio.timeout(SOON):
        for _ in range(50):
            assert b"canary" in (await store.context("thread_1")).chat

    assert shelf.asked == 1
    assert installation.database.versions == 1


@pytest.mark.parametrize("way", BOTH)
async def test_an_answer_that_comes_too_late_is_never_taken_for_another(
    installation: Installation, proxy: FaultProxy, way: Way
) -> None:
    _, shelf = installation.process()
    for text in ("early", "late", "next"):
        await shelf.put(text, 1, text.encode())
    _, distant = installation.process(far(proxy))
    assert await distant.get("early", 1) == b"early"  # there is a connection now

    proxy.stall([way])
    late = asyncio.create_task(distant.get("late", 1))
    async with asyncio.timeout(SOON):
        while not proxy.held:
            await asyncio.sleep(0.01)
    late.cancel()
    await asyncio.wait([late])
    proxy.heal()

    assert late.cancelled()
    assert [await distant.get(text, 1) for text in ("next", "early")] == [b"next", b"early"]


async def test_a_killed_redis_costs_nothing_and_is_used_again_once_it_is_back(
    installation: Installation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "antiphon")
    own = Redis(tmp_path / "redis")  # not there yet
    address = own.address.replace("redis://", "redis://:secret-word@")
    store, shelf = installation.process(address, backoff=(0.02, 0.1))
    await read_until_told(store, caplog, 1)
    own.start()
    await used_again(store, shelf)
    own.kill()
    await read_until_told(store, caplog, 3)
    await store.delete(Thread, "ann", "thread_1")
    own.stop()

    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(" (")[0] for text in told] == [
        "no contexts are shared through Redis",
        "contexts are shared through Redis again",
        "no contexts are shared through Redis",
    ]
    assert "secret-word" not in " ".join(told)


async def read_until_told(store: CachedStore, log: pytest.LogCaptureFixture, lines: int) -> None:
    """The context is read, and there, until so many lines were logged."""
    async with asyncio.timeout(SOON):
        while len(log.records) < lines:
            assert b"canary" in (await store.context("thread_1")).chat
            await asyncio.sleep(0.01)


async def used_again(store: CachedStore, shelf: Shelf) -> None:
    """Contexts are shared once more, without anybody doing anything about it."""
    shelf.was_put.clear()
    async with asyncio.timeout(SOON):
        while not shelf.was_put.is_set():
            await store.context("thread_1")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await shelf.was_put.wait()
