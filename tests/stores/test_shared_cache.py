"""Contexts that processes share through Redis, which may be empty, stale, forged, slow or dead.

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
    """Database that all processes share, with counters of reads."""

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
        """Do nothing: other processes still use it."""


class ObservedBackend(RedisContextBackend):
    """Backend that counts reads, and reports puts and drops.

    A put waits until `may_put` is set.
    """

    def __init__(self, address: str, installation: str) -> None:
        super().__init__(address, installation)
        self.get_count = 0
        self.putting, self.was_put, self.was_dropped = (asyncio.Event() for _ in range(3))
        self.may_put = asyncio.Event()
        self.may_put.set()

    async def get(self, thread_id: str, version: int) -> bytes | None:
        self.get_count += 1
        return await super().get(thread_id, version)

    async def put(self, thread_id: str, version: int, data: bytes) -> None:
        self.putting.set()
        await self.may_put.wait()
        await super().put(thread_id, version, data)
        self.was_put.set()

    async def drop(self, thread_id: str) -> None:
        await super().drop(thread_id)
        self.was_dropped.set()


class Installation:
    """Processes that share one database, and one Redis unless they get another address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = secrets.token_hex(4)
        self.database = Database()
        self.stack = AsyncExitStack()

    def process(
        self, address: str | None = None, secret: bytes = SECRET, **options: Any
    ) -> tuple[CachedStore, ObservedBackend]:
        """Return the store of a process, without its own cache, and the backend of the store."""
        backend = ObservedBackend(address or self.address, self.name)
        store = CachedStore(
            self.database, SharedContextCache(backend, secret, **options), max_bytes=0
        )
        self.stack.push_async_callback(store.close)
        return store, backend

    async def share(self, thread_id: str = "thread_1") -> None:
        """Let some process read the thread and share it."""
        store, backend = self.process()
        async with asyncio.timeout(SOON):
            while not await self.keys(thread_id):
                backend.was_put.clear()
                await store.context(thread_id, fresh=True)
                await backend.was_put.wait()
        self.database.contexts = self.database.versions = 0

    async def keys(self, thread_id: str = "*") -> list[bytes]:
        """Return the keys in Redis."""
        async with Client.from_url(self.address) as client:
            keys: list[bytes] = await client.keys(f"antiphon:{self.name}:context:{thread_id}")
            return keys

    async def run_command(self, *command: Any) -> Any:
        """Run a command in Redis, unnoticed by all processes."""
        async with Client.from_url(self.address) as client:
            return await client.execute_command(*command)

    def key(self, thread_id: str = "thread_1") -> str:
        return f"antiphon:{self.name}:context:{thread_id}"


@pytest.fixture
async def installation(redis: Redis, patient_cache: None) -> AsyncIterator[Installation]:
    new_installation = Installation(redis.address)
    async with new_installation.stack:
        await add_thread(new_installation.database)
        await new_installation.database.change(READ_SET, say(a_message(1, "canary")))
        yield new_installation


@pytest.fixture
def proxy(redis: Redis) -> Iterator[FaultProxy]:
    proxy = FaultProxy(redis.port).start()
    yield proxy
    proxy.stop()


READ_SET = ReadSet(owner="ann", thread_id="thread_1")


def proxied_address(proxy: FaultProxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def test_what_one_process_has_read_another_need_not_read(installation: Installation) -> None:
    await installation.share()
    store, _ = installation.process()

    assert b"canary" in (await store.context("thread_1")).chat
    assert installation.database.contexts == 0


async def test_what_is_shared_is_the_same_to_the_last_landmark(installation: Installation) -> None:
    change = say(a_message(2, "be kind", role="system"), a_message(3, "ü\u2028" * 100))
    await installation.database.change(READ_SET, change)
    await installation.share()
    store, _ = installation.process()

    assert await store.context("thread_1") == await installation.database.context("thread_1")


async def test_a_context_of_an_older_version_is_not_believed(installation: Installation) -> None:
    await installation.share()
    await installation.database.change(READ_SET, say(a_message(2, "news")))
    store, _ = installation.process()

    assert b"news" in (await store.context("thread_1")).chat
    assert installation.database.contexts == 1


async def test_a_fresh_context_is_not_asked_of_others(installation: Installation) -> None:
    await installation.share()
    store, backend = installation.process()
    await store.context("thread_1", fresh=True)

    assert installation.database.contexts == 1
    assert not backend.get_count


async def test_a_thread_is_there_once_and_for_some_minutes(installation: Installation) -> None:
    await installation.share()
    await installation.database.change(READ_SET, say(a_message(2, "news")))
    store, backend = installation.process()
    await store.context("thread_1")
    await backend.was_put.wait()

    assert await installation.run_command("HKEYS", installation.key()) == [b"2"]
    assert 0 < await installation.run_command("TTL", installation.key()) <= EXPIRY_SECONDS


async def test_a_context_that_is_large_is_not_shared(installation: Installation) -> None:
    await installation.database.change(READ_SET, say(a_message(2, "x" * MAX_CONTEXT_BYTES)))
    store, backend = installation.process()
    await store.context("thread_1")
    await add_thread(store, 2)
    await store.context("thread_2")
    await backend.was_put.wait()

    assert await installation.keys() == [installation.key("thread_2").encode()]


async def test_a_flushed_redis_changes_only_who_is_asked(installation: Installation) -> None:
    await installation.share()
    await installation.run_command("DEL", installation.key())
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
    foreign_bytes = await installation.run_command("HGET", installation.key("thread_2"), "1")
    own_bytes = await installation.run_command("HGET", installation.key(), "1")
    forged = (
        *(
            b"",
            b"\0" * 1000,
            b"canary",
            own_bytes[:-1],
            own_bytes[:31],
            own_bytes + b"x",
            foreign_bytes,
        ),
        own_bytes.replace(b"canary", b"forged"),
    )
    for stored_bytes in forged:
        await installation.run_command("DEL", installation.key())
        await installation.run_command("HSET", installation.key(), "1", stored_bytes)
        store, _ = installation.process()

        assert await store.context("thread_1") == await MemoryStore.context(
            installation.database, "thread_1"
        )
    assert installation.database.contexts == len(forged)


async def test_a_true_context_under_another_version_is_not_believed(
    installation: Installation,
) -> None:
    await installation.share()
    own_bytes = await installation.run_command("HGET", installation.key(), "1")
    await installation.database.change(READ_SET, say(a_message(2, "news")))
    await installation.run_command("HSET", installation.key(), "2", own_bytes)
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
    await installation.run_command("SET", installation.key(), "a text")
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
    reader, late_backend = installation.process()
    late_backend.may_put.clear()
    async with asyncio.timeout(SOON):
        # A slow answer of Redis suspends the cache for a while.
        while not late_backend.putting.is_set():
            await reader.context("thread_1")
            await asyncio.sleep(0)
    store, _ = installation.process()
    await store.delete(Thread, "ann", "thread_1")
    late_backend.may_put.set()
    async with asyncio.timeout(SOON):
        await late_backend.was_dropped.wait()

    assert not await installation.keys()


async def test_a_thread_is_deleted_from_redis_also_after_it_failed(
    installation: Installation, proxy: FaultProxy
) -> None:
    await installation.share()
    store, _ = installation.process(proxied_address(proxy))
    proxy.refuse()
    await store.context("thread_1")
    proxy.heal()
    await store.delete(Thread, "ann", "thread_1")

    assert not await installation.keys()


async def test_an_erased_owner_leaves_nothing_in_redis(installation: Installation) -> None:
    await installation.share()
    await installation.run_command(
        "SET", f"antiphon:{installation.name}x:context:thread_1", "another's"
    )
    store, _ = installation.process()
    while await store.delete_owned("ann", 100):
        pass

    assert not await installation.keys()
    assert (
        await installation.run_command("DEL", f"antiphon:{installation.name}x:context:thread_1")
        == 1
    )


async def test_a_slow_redis_delays_nobody_long_and_is_then_left_in_peace(
    installation: Installation, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installation.share()
    store, backend = installation.process(proxied_address(proxy), backoff=(3_600.0, 3_600.0))
    proxy.stall()
    monkeypatch.setattr(shared, "GET_SECONDS", 0.05)
    async with asyncio.timeout(SOON):
        for _ in range(50):
            assert b"canary" in (await store.context("thread_1")).chat

    assert backend.get_count == 1
    assert installation.database.versions == 1


@pytest.mark.parametrize("way", BOTH)
async def test_an_answer_that_comes_too_late_is_never_taken_for_another(
    installation: Installation, proxy: FaultProxy, way: Way
) -> None:
    _, backend = installation.process()
    for text in ("early", "late", "next"):
        await backend.put(text, 1, text.encode())
    _, distant_backend = installation.process(proxied_address(proxy))
    assert await distant_backend.get("early", 1) == b"early"  # opens a connection

    proxy.stall([way])
    late_get = asyncio.create_task(distant_backend.get("late", 1))
    async with asyncio.timeout(SOON):
        while not proxy.held:
            await asyncio.sleep(0.01)
    late_get.cancel()
    await asyncio.wait([late_get])
    proxy.heal()

    assert late_get.cancelled()
    assert [await distant_backend.get(text, 1) for text in ("next", "early")] == [b"next", b"early"]


async def test_a_killed_redis_costs_nothing_and_is_used_again_once_it_is_back(
    installation: Installation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "antiphon")
    own_redis = Redis(tmp_path / "redis")  # not started yet
    address = own_redis.address.replace("redis://", "redis://:secret-word@")
    store, backend = installation.process(address, backoff=(0.02, 0.1))
    await read_until_logged(store, caplog, 1)
    own_redis.start()
    await wait_until_shared_again(store, backend)
    own_redis.kill()
    await read_until_logged(store, caplog, 3)
    await store.delete(Thread, "ann", "thread_1")
    own_redis.stop()

    log_lines = [record.getMessage() for record in caplog.records]
    assert [text.partition(" (")[0] for text in log_lines] == [
        "no contexts are shared through Redis",
        "contexts are shared through Redis again",
        "no contexts are shared through Redis",
    ]
    assert "secret-word" not in " ".join(log_lines)


async def read_until_logged(store: CachedStore, log: pytest.LogCaptureFixture, lines: int) -> None:
    """Read the context until `lines` lines are logged; it never fails."""
    async with asyncio.timeout(SOON):
        while len(log.records) < lines:
            assert b"canary" in (await store.context("thread_1")).chat
            await asyncio.sleep(0.01)


async def wait_until_shared_again(store: CachedStore, backend: ObservedBackend) -> None:
    """Read contexts until they are shared again."""
    backend.was_put.clear()
    async with asyncio.timeout(SOON):
        while not backend.was_put.is_set():
            await store.context("thread_1")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await backend.was_put.wait()
