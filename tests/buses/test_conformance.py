"""Promises of every bus, see `Bus` in `ports`; readers need no more than these.

A bus that processes share keeps its promises for them all, so such a bus is notified in one process
and watched in another as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import pytest

from antiphon.buses.local import LocalBus
from antiphon.buses.postgres import PostgresBackend
from antiphon.buses.redis import RedisBackend
from antiphon.ports import Bus
from tests.support.buses.elsewhere import SOON, up
from tests.support.buses.unreliable import UnreliableBus
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis


class Buses(NamedTuple):
    """Two buses of one installation, or the same bus twice."""

    first: Bus
    second: Bus


async def local(_: pytest.FixtureRequest) -> Sequence[Bus]:
    return [LocalBus()]


async def postgres(request: pytest.FixtureRequest) -> Sequence[Bus]:
    server: Postgres = request.getfixturevalue("postgres")
    return [await up(PostgresBackend(server.address()))]


async def two_with_postgres(request: pytest.FixtureRequest) -> Sequence[Bus]:
    return [*await postgres(request), *await postgres(request)]


async def redis(request: pytest.FixtureRequest) -> Sequence[Bus]:
    server: Redis = request.getfixturevalue("redis")
    return [await up(RedisBackend(server.address, "conformance"))]


async def two_with_redis(request: pytest.FixtureRequest) -> Sequence[Bus]:
    return [*await redis(request), *await redis(request)]


OPENERS = (local, postgres, two_with_postgres, redis, two_with_redis)


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__)
async def buses(request: pytest.FixtureRequest) -> AsyncIterator[Buses]:
    open_buses = await request.param(request)
    yield Buses(open_buses[0], open_buses[-1])
    for bus in open_buses:
        await bus.close()


async def test_a_notification_wakes_a_waiter(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        wait_task = asyncio.create_task(bell.wait(SOON))
        await asyncio.sleep(0)
        buses.first.notify("run_1")

        assert await wait_task


async def test_a_notification_before_the_wait_is_not_lost(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        buses.first.notify("run_1")

        assert await bell.wait(SOON)


async def test_many_notifications_before_a_wait_are_one(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        for _ in range(5):
            buses.first.notify("run_1")
        assert await bell.wait(SOON)

        assert not await bell.wait(0.05)


async def test_silence_ends_the_wait_after_its_timeout(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        assert not await bell.wait(0.01)


async def test_a_notification_reaches_every_subscriber_of_its_topic_and_no_other(
    buses: Buses,
) -> None:
    subscribe = buses.second.subscribe
    with subscribe("a") as first_bell, subscribe("a") as second_bell, subscribe("b") as other_bell:
        buses.first.notify("a")

        assert await first_bell.wait(SOON)
        assert await second_bell.wait(SOON)
        assert not await other_bell.wait(0.05)


async def test_a_wait_that_was_cancelled_loses_no_notification(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        wait_task = asyncio.create_task(bell.wait(SOON))
        await asyncio.sleep(0)
        wait_task.cancel()
        buses.first.notify("run_1")
        with pytest.raises(asyncio.CancelledError):
            await wait_task

        assert await bell.wait(SOON)


async def test_a_handled_notification_wakes_nobody_and_one_that_is_not_handled_does(
    buses: Buses,
) -> None:
    answers = [True, False]
    with buses.second.subscribe("run_1") as bell:
        wait_task = asyncio.create_task(bell.wait(SOON, lambda: answers.pop(0)))
        await asyncio.sleep(0)
        buses.first.notify("run_1")
        async with asyncio.timeout(SOON):
            while len(answers) == 2:
                await asyncio.sleep(0.001)
        assert not wait_task.done()
        buses.first.notify("run_1")

        assert await wait_task
        assert answers == []


async def test_notifications_that_come_together_are_handled_once(buses: Buses) -> None:
    handled: list[bool] = []
    with buses.first.subscribe("run_1") as bell:
        wait_task = asyncio.create_task(bell.wait(SOON, lambda: bool(handled.append(True))))
        await asyncio.sleep(0)
        for _ in range(5):
            buses.first.notify("run_1")

        assert await wait_task
    assert handled == [True]


async def test_a_handler_that_fails_wakes_its_waiter(
    buses: Buses, caplog: pytest.LogCaptureFixture
) -> None:
    with buses.second.subscribe("run_1") as bell:
        wait_task = asyncio.create_task(bell.wait(SOON, lambda: bool(1 / 0)))
        await asyncio.sleep(0)
        buses.first.notify("run_1")

        assert await wait_task
    assert "ZeroDivisionError" in caplog.text


async def test_a_notification_without_subscribers_is_no_error(buses: Buses) -> None:
    buses.first.notify("nobody")


async def test_a_subscription_gets_no_notification_after_its_end(buses: Buses) -> None:
    with buses.second.subscribe("run_1") as bell:
        pass
    buses.first.notify("run_1")

    assert not await bell.wait(0.05)


async def test_a_bus_counts_its_subscribers() -> None:
    bus = LocalBus()
    with (
        bus.subscribe("run_1"),
        bus.subscribe("run_1"),
        bus.subscribe("run_2"),
        bus.subscribe("queue"),
    ):
        assert bus.subscribers == 4
        assert (bus.subscribers_of("run"), bus.subscribers_of("queue")) == (3, 1)
        assert bus.subscribers_of("leases") == 0
    assert bus.subscribers == bus.subscribers_of("run") == bus.subscribers_of("queue") == 0


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
async def test_readers_of_a_log_miss_nothing_however_bad_the_bus(seed: int, lost: float) -> None:
    bus: Bus = UnreliableBus(seed, lost=lost)
    log: list[int] = []
    length = 40

    async def read() -> list[int]:
        received: list[int] = []
        with bus.subscribe("log") as bell:
            while True:
                received += log[len(received) :]
                if len(received) == length:
                    return received
                await bell.wait(0.01)

    readers = [asyncio.create_task(read()) for _ in range(5)]
    for number in range(length):
        log.append(number)
        bus.notify("log")
        await asyncio.sleep(0.001)
    async with asyncio.timeout(SOON):
        received_by_each = await asyncio.gather(*readers)

    assert received_by_each == [list(range(length))] * 5
