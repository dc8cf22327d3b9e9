"""What every bus promises, see `Bus` in `ports`; and that readers need no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from unreliable import UnreliableBus

from antiphon.buses.local import LocalBus
from antiphon.ports import Bus

SOON = 5.0  # seconds; far more than any wake-up takes

Opener = Callable[[], Awaitable[Bus]]


async def local() -> Bus:
    return LocalBus()


OPENERS: Sequence[Opener] = (local,)


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    bus = await request.param()
    yield bus
    await bus.close()


async def test_a_ring_wakes_whoever_waits(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        waiting = asyncio.create_task(bell.wait(SOON))
        await asyncio.sleep(0)
        bus.ring("run_1")

        assert await waiting


async def test_a_ring_before_the_wait_is_not_lost(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        bus.ring("run_1")

        assert await bell.wait(SOON)


async def test_many_rings_before_a_wait_are_one(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        for _ in range(5):
            bus.ring("run_1")
        assert await bell.wait(SOON)

        assert not await bell.wait(0.05)


async def test_silence_ends_the_wait_after_its_patience(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        assert not await bell.wait(0.01)


async def test_a_ring_reaches_every_watcher_of_its_topic_and_no_other(bus: Bus) -> None:
    with bus.watch("a") as one, bus.watch("a") as two, bus.watch("b") as other:
        bus.ring("a")

        assert await one.wait(SOON)
        assert await two.wait(SOON)
        assert not await other.wait(0.05)


async def test_a_wait_that_was_cancelled_loses_no_ring(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        waiting = asyncio.create_task(bell.wait(SOON))
        await asyncio.sleep(0)
        waiting.cancel()
        bus.ring("run_1")
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert await bell.wait(SOON)


async def test_a_ring_for_nobody_is_no_error(bus: Bus) -> None:
    bus.ring("nobody")


async def test_a_bell_rings_no_more_once_its_watch_is_over(bus: Bus) -> None:
    with bus.watch("run_1") as bell:
        pass
    bus.ring("run_1")

    assert not await bell.wait(0.05)


async def test_a_bus_knows_how_many_watch() -> None:
    bus = LocalBus()
    with bus.watch("run_1"), bus.watch("run_1"), bus.watch("run_2"), bus.watch("queue"):
        assert bus.watchers == 4
        assert (bus.watchers_of("run"), bus.watchers_of("queue")) == (3, 1)
        assert bus.watchers_of("leases") == 0
    assert bus.watchers == bus.watchers_of("run") == bus.watchers_of("queue") == 0


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
async def test_readers_of_a_log_miss_nothing_however_bad_the_bus(seed: int, lost: float) -> None:
    bus: Bus = UnreliableBus(seed, lost=lost)
    log: list[int] = []
    length = 40

    async def read() -> list[int]:
        seen: list[int] = []
        with bus.watch("log") as bell:
            while True:
                seen += log[len(seen) :]
                if len(seen) == length:
                    return seen
                await bell.wait(0.01)

    readers = [asyncio.create_task(read()) for _ in range(5)]
    for number in range(length):
        log.append(number)
        bus.ring("log")
        await asyncio.sleep(0.001)
    async with asyncio.timeout(SOON):
        read_by_each = await asyncio.gather(*readers)

    assert read_by_each == [list(range(length))] * 5
