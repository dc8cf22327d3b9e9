"""The services behind the buses are killed, frozen and started again: that changes only speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis as Client

from antiphon.buses.postgres import PostgresBackend
from antiphon.buses.redis import RedisBackend
from antiphon.buses.shared import BusBackend, BusTiming, SharedBus
from tests.support.buses.elsewhere import SOON, comes_up, goes_down, up
from tests.support.services.fault_proxy import FaultProxy, Way
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis

pytestmark = pytest.mark.processes

Server = Postgres | Redis

QUICK = BusTiming(probe=0.1, echo=0.5, retry=(0.05,))


@pytest.fixture(params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def own_server(server: Server, open_folder: Path) -> Iterator[Server]:
    """Run a service of the same kind, which may be killed."""
    own_server = type(server)(open_folder / "own")
    own_server.start()
    yield own_server
    own_server.stop()


def create_backend(server: Server, port: int | None = None) -> BusBackend:
    """Return a backend to the service, or to the proxy before it at that port."""
    port = port or server.port
    if isinstance(server, Postgres):
        return PostgresBackend(server.address(port=port))
    return RedisBackend(f"redis://127.0.0.1:{port}/0", "services")


@pytest.fixture
async def buses(server: Server) -> AsyncIterator[tuple[SharedBus, SharedBus]]:
    first, second = await up(create_backend(server), QUICK), await up(create_backend(server), QUICK)
    yield first, second
    await first.close()
    await second.close()


async def wakes(first: SharedBus, second: SharedBus) -> bool:
    """Return True if a notification on one wakes the other."""
    with second.subscribe("run_1") as bell:
        while await bell.wait(0.05):
            pass  # rings of earlier notifications
        first.notify("run_1")
        return await bell.wait(SOON)


async def test_a_service_that_was_killed_wakes_again_once_it_is_back(own_server: Server) -> None:
    first, second = (
        await up(create_backend(own_server), QUICK),
        await up(create_backend(own_server), QUICK),
    )
    for _ in range(2):
        own_server.kill()
        first.notify("run_1")
        await goes_down(first)
        await goes_down(second)
        first.notify("run_2")
        await asyncio.to_thread(own_server.start)
        await comes_up(first)
        await comes_up(second)

        assert await wakes(first, second)
        assert await wakes(second, first)
    await first.close()
    await second.close()


@pytest.mark.parametrize("ways", [("up",), ("down",)], ids=["unheard", "unanswered"])
async def test_a_connection_on_which_nothing_passes_is_noticed_and_replaced(
    server: Server, buses: tuple[SharedBus, SharedBus], ways: Sequence[Way]
) -> None:
    proxy = FaultProxy(server.port).start()
    proxied_bus = await up(create_backend(server, proxy.port), QUICK)
    _, second = buses
    proxy.stall(ways)
    await goes_down(proxied_bus)
    proxied_bus.notify("run_1")
    proxy.heal()
    await comes_up(proxied_bus)

    assert await wakes(proxied_bus, second)
    assert await wakes(second, proxied_bus)
    await proxied_bus.close()
    proxy.stop()


async def test_a_connection_that_is_ended_by_the_service_is_replaced(
    server: Server, buses: tuple[SharedBus, SharedBus]
) -> None:
    first, second = buses
    # A bus may be connected again before the test could see that it was disconnected.
    replaced = [asyncio.Event(), asyncio.Event()]
    first.on_reconnect, second.on_reconnect = replaced[0].set, replaced[1].set
    if isinstance(server, Postgres):
        connection = await asyncpg.connect(server.address())
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'antiphon wake-ups'"
        )
        await connection.close()
    else:
        client = Client.from_url(server.address)
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await client.aclose()
    async with asyncio.timeout(SOON):
        for each in replaced:
            await each.wait()

    assert await wakes(first, second)
    assert await wakes(second, first)


async def test_a_process_has_one_connection_however_many_subscribers_it_has(
    server: Server, buses: tuple[SharedBus, SharedBus]
) -> None:
    first, _ = buses
    with ExitStack() as stack:
        for number in range(500):
            stack.enter_context(first.subscribe(f"run_{number % 50}"))

        assert await connections(server) == 2 * (1 if isinstance(server, Postgres) else 2)


async def connections(server: Server) -> int:
    """Return the number of connections that all processes use for wake-ups."""
    if isinstance(server, Postgres):
        connection = await asyncpg.connect(server.address())
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'antiphon wake-ups'"
        )
        await connection.close()
        return count
    client = Client.from_url(server.address)
    names = [each["name"] for each in await client.client_list()]
    await client.aclose()
    return names.count("antiphon-wake-ups")
