"""Bus backend over Redis's publish and subscribe: one connection publishes, one subscribes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from antiphon.buses.shared import BackendDown

_FAULTS = (OSError, TimeoutError, RedisError)


class RedisBackend:
    """See `BusBackend`; processes that name the same channel notify each other.

    Raises `ValueError` for an invalid address.
    """

    name = "Redis"
    max_bytes = 60_000
    pause = 0.005

    def __init__(self, address: str, channel: str) -> None:
        self._address = address
        self._channel = channel
        try:
            _create_client(address).connection_pool.make_connection()
        except TypeError as fault:  # the address has an unknown option
            raise ValueError(str(fault)) from fault

    @asynccontextmanager
    async def connect(
        self, on_message: Callable[[str], None], on_disconnect: Callable[[], None]
    ) -> AsyncGenerator[RedisBusConnection]:
        """See `BusBackend.connect`."""
        client = _create_client(self._address)
        subscription = client.pubsub(ignore_subscribe_messages=True)
        listener: asyncio.Task[None] | None = None
        try:
            await subscription.subscribe(self._channel)
            listener = asyncio.create_task(_listen(subscription, on_message), name="antiphon redis")
            listener.add_done_callback(lambda _: on_disconnect())
            yield RedisBusConnection(client, self._channel)
        except _FAULTS as fault:
            raise BackendDown(_describe(fault)) from fault
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener])
            with suppress(*_FAULTS):
                await subscription.aclose()
            with suppress(*_FAULTS):
                await client.aclose()


class RedisBusConnection:
    """See `BusConnection`."""

    def __init__(self, client: _RedisClient, channel: str) -> None:
        self._client = client
        self._channel = channel

    async def publish(self, message: str) -> None:
        """See `BusConnection.publish`."""
        try:
            await self._client.publish(self._channel, message)
        except _FAULTS as fault:
            raise BackendDown(_describe(fault)) from fault


async def _listen(subscription: _PubSub, on_message: Callable[[str], None]) -> None:
    """Pass on messages until the connection breaks, which is no error: `SharedBus` reconnects."""
    with suppress(*_FAULTS):
        async for message in subscription.listen():
            on_message(str(message["data"]))


class _PubSub(Protocol):
    """Methods of redis's `PubSub`."""

    async def subscribe(self, channel: str) -> None: ...

    def listen(self) -> AsyncIterator[Mapping[str, Any]]: ...

    async def aclose(self) -> None: ...


class _RedisClient(Protocol):
    """Methods of redis's `Redis`."""

    def pubsub(self, *, ignore_subscribe_messages: bool) -> _PubSub: ...

    connection_pool: Any

    async def publish(self, channel: str, message: str) -> int: ...

    async def aclose(self) -> None: ...


def _create_client(address: str) -> _RedisClient:
    from_url: Callable[..., Any] = cast("Any", Redis).from_url
    client: _RedisClient = from_url(
        address,
        client_name="antiphon-wake-ups",
        decode_responses=True,
        encoding_errors="replace",
        retry=Retry(NoBackoff(), 0),  # `SharedBus` retries with a new connection
    )
    return client


def _describe(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
