"""Carries wake-ups by Redis's publish and subscribe, on a connection for each."""

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
    """See `Carrier`; processes hear one another that name the same channel.

    Raises `ValueError` for an address that is none.
    """

    name = "Redis"
    max_bytes = 60_000
    pause = 0.005

    def __init__(self, address: str, channel: str) -> None:
        self._address = address
        self._channel = channel
        try:
            _client(address).connection_pool.make_connection()
        except TypeError as fault:  # an option in it that nobody knows
            raise ValueError(str(fault)) from fault

    @asynccontextmanager
    async def connect(
        self, hear: Callable[[str], None], hung_up: Callable[[], None]
    ) -> AsyncGenerator[RedisBusConnection]:
        """See `Carrier.connect`."""
        client = _client(self._address)
        incoming = client.pubsub(ignore_subscribe_messages=True)
        listening: asyncio.Task[None] | None = None
        try:
            await incoming.subscribe(self._channel)
            listening = asyncio.create_task(_listen(incoming, hear), name="antiphon redis")
            listening.add_done_callback(lambda _: hung_up())
            yield RedisBusConnection(client, self._channel)
        except _FAULTS as fault:
            raise BackendDown(_told(fault)) from fault
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait([listening])
            with suppress(*_FAULTS):
                await incoming.aclose()
            with suppress(*_FAULTS):
                await client.aclose()


class RedisBusConnection:
    """See `Line`."""

    def __init__(self, client: _Client, channel: str) -> None:
        self._client = client
        self._channel = channel

    async def publish(self, message: str) -> None:
        """See `Line.publish`."""
        try:
            await self._client.publish(self._channel, message)
        except _FAULTS as fault:
            raise BackendDown(_told(fault)) from fault


async def _listen(incoming: _Incoming, hear: Callable[[str], None]) -> None:
    """Until the connection breaks, which is no fault: there will be another one."""
    with suppress(*_FAULTS):
        async for message in incoming.listen():
            hear(str(message["data"]))


class _Incoming(Protocol):
    """What is used here of redis's `PubSub`."""

    async def subscribe(self, channel: str) -> None: ...

    def listen(self) -> AsyncIterator[Mapping[str, Any]]: ...

    async def aclose(self) -> None: ...


class _Client(Protocol):
    """What is used here of redis's `Redis`."""

    def pubsub(self, *, ignore_subscribe_messages: bool) -> _Incoming: ...

    connection_pool: Any

    async def publish(self, channel: str, message: str) -> int: ...

    async def aclose(self) -> None: ...


def _client(address: str) -> _Client:
    opened: Callable[..., Any] = cast("Any", Redis).from_url
    client: _Client = opened(
        address,
        client_name="antiphon-wake-ups",
        decode_responses=True,
        encoding_errors="replace",
        retry=Retry(NoBackoff(), 0),  # what is tried again is the line, see `SharedBus`
    )
    return client


def _told(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
