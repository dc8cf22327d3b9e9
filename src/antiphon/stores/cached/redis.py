"""Contexts in Redis for some minutes, in one hash per thread: its version, its bytes.

Keys begin with the installation's name, so that installations can share a Redis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from antiphon.stores.cached.shared import ContextBackendDown

EXPIRY_SECONDS = 600
CONNECTIONS = 20  # of a process; a reader that gets none in time reads the database
SCAN_BATCH = 1_000


class RedisContextBackend:
    """See `ContextBackend`. Raises `ValueError` for an invalid address."""

    name = "Redis"

    def __init__(self, address: str, installation: str) -> None:
        self._client = _create_client(address)
        self._prefix = f"antiphon:{installation}:context:"

    async def get(self, thread_id: str, version: int) -> bytes | None:
        """See `ContextBackend.get`."""
        with _translate_errors():
            return await self._client.hget(self._prefix + thread_id, str(version))

    async def put(self, thread_id: str, version: int, data: bytes) -> None:
        """See `ContextBackend.put`."""
        key = self._prefix + thread_id
        with _translate_errors():
            async with self._client.pipeline(transaction=True) as together:
                together.delete(key)
                together.hset(key, str(version), data)
                together.expire(key, EXPIRY_SECONDS)
                await together.execute()

    async def drop(self, thread_id: str) -> None:
        """See `ContextBackend.drop`."""
        with _translate_errors():
            await self._client.delete(self._prefix + thread_id)

    async def clear(self) -> None:
        """See `ContextBackend.clear`."""
        with _translate_errors():
            keys = self._client.scan_iter(match=self._prefix + "*", count=SCAN_BATCH)
            async for key in keys:
                await self._client.delete(key)

    async def close(self) -> None:
        """See `ContextBackend.close`."""
        with _translate_errors():
            await self._client.aclose()


@contextmanager
def _translate_errors() -> Generator[None]:
    try:
        yield
    except (OSError, RedisError) as fault:
        raise ContextBackendDown(str(fault) or type(fault).__name__) from fault


class _PipelineLike(Protocol):
    """Methods of redis's `Pipeline`."""

    def delete(self, key: str) -> object: ...

    def hset(self, key: str, field: str, value: bytes) -> object: ...

    def expire(self, key: str, seconds: int) -> object: ...

    async def execute(self) -> object: ...


class _RedisLike(Protocol):
    """Methods of redis's `Redis`."""

    async def hget(self, key: str, field: str) -> bytes | None: ...

    async def delete(self, key: str | bytes) -> int: ...

    def scan_iter(self, *, match: str, count: int) -> AsyncIterator[bytes]: ...

    def pipeline(self, *, transaction: bool) -> AbstractAsyncContextManager[_PipelineLike]: ...

    async def aclose(self) -> None: ...


def _create_client(address: str) -> _RedisLike:
    pool = cast("Any", BlockingConnectionPool).from_url(
        address,
        client_name="antiphon-contexts",
        max_connections=CONNECTIONS,
        retry=Retry(NoBackoff(), 0),  # the database is read instead
    )
    client: _RedisLike = cast("Any", Redis).from_pool(pool)
    return client
