"""Promises of a shared bus beyond those of every bus, on a backend that the test controls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from antiphon.buses import shared
from antiphon.buses.shared import MAX_PENDING_TOPICS, BusTiming, SharedBus
from antiphon.ports import QUEUE
from tests.support.buses.elsewhere import SOON, BadSwitchboard, Switchboard, comes_up, goes_down, up

QUICK = BusTiming(probe=0.05, echo=0.05, retry=(0.02,))


@pytest.fixture
def switchboard() -> Switchboard:
    return Switchboard()


@pytest.fixture
async def first_bus(switchboard: Switchboard) -> AsyncIterator[SharedBus]:
    bus = await up(switchboard)
    yield bus
    await bus.close()


@pytest.fixture
async def second_bus(switchboard: Switchboard) -> AsyncIterator[SharedBus]:
    bus = await up(switchboard)
    yield bus
    await bus.close()


def topics(message: str) -> list[str]:
    return message.split(" ")[1:]


async def test_notifications_at_once_are_one_message_with_each_topic_once(
    switchboard: Switchboard, first_bus: SharedBus
) -> None:
    before = len(switchboard.said)
    for _ in range(100):
        first_bus.notify("run_1")
        first_bus.notify("run_2")
    with first_bus.subscribe("run_3") as bell:
        first_bus.notify("run_3")
        await bell.wait(SOON)
    await first_bus.close()

    assert [topics(each) for each in switchboard.said[before:]] == [["run_1", "run_2", "run_3"]]


async def test_the_first_notification_after_quiet_is_sent_at_once() -> None:
    switchboard = Switchboard(pause=SOON)
    first_bus, second_bus = SharedBus(switchboard), SharedBus(switchboard)
    with second_bus.subscribe("run_1") as bell:
        await comes_up(second_bus)
        await comes_up(first_bus)
        await bell.wait(0.01)
        first_bus.notify("run_1")

        assert await bell.wait(SOON)
    await asyncio.gather(first_bus.close(), second_bus.close())


async def test_messages_stay_few_however_many_runs_stream(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    runs = [f"run_{number:026}" for number in range(300)]
    woken_runs: set[str] = set()

    async def read(run: str) -> None:
        with second_bus.subscribe(run) as bell:
            while not await bell.wait(SOON):
                pass
            woken_runs.add(run)

    readers = [asyncio.create_task(read(run)) for run in runs]
    await asyncio.sleep(0)
    start, before = asyncio.get_running_loop().time(), first_bus.messages_sent
    for _ in range(200):
        for run in runs:
            first_bus.notify(run)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(SOON):
        await asyncio.gather(*readers)
    seconds = asyncio.get_running_loop().time() - start

    assert woken_runs == set(runs)
    assert first_bus.messages_sent - before <= seconds / switchboard.pause + 1


async def test_no_message_is_longer_than_the_backend_takes(
    switchboard: Switchboard, first_bus: SharedBus
) -> None:
    runs = [f"run_{number:026}" for number in range(500)]
    for run in runs:
        first_bus.notify(run)
    await first_bus.close()

    assert max(len(message.encode()) for message in switchboard.said) <= switchboard.max_bytes
    assert [topic for message in switchboard.said for topic in topics(message)] == runs


async def test_a_topic_that_no_message_holds_wakes_everybody(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    with second_bus.subscribe("run_1") as bell:
        first_bus.notify("ü" * switchboard.max_bytes)

        assert await bell.wait(SOON)


async def test_more_topics_than_are_remembered_wake_everybody(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    with second_bus.subscribe("run_1") as bell:
        for number in range(MAX_PENDING_TOPICS + 1):
            first_bus.notify(f"run_{number}x")

        assert await bell.wait(SOON)
    assert sum(len(topics(message)) for message in switchboard.said) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_readers_of_other_buses_miss_nothing_however_bad_the_backend(seed: int) -> None:
    switchboard = BadSwitchboard(seed)
    buses = [SharedBus(switchboard, timing=QUICK) for _ in range(3)]
    log: list[int] = []
    length = 100

    async def read(bus: SharedBus) -> list[int]:
        received: list[int] = []
        with bus.subscribe("log") as bell:
            while len(received) < length:
                received += log[len(received) :]
                await bell.wait(0.05)
        return received

    readers = [asyncio.create_task(read(bus)) for bus in buses[1:]]
    for number in range(length):
        log.append(number)
        buses[0].notify("log")
        await asyncio.sleep(0.001)
    async with asyncio.timeout(SOON):
        received_by_each = await asyncio.gather(*readers)

    assert received_by_each == [list(range(length))] * 2
    await asyncio.gather(*(bus.close() for bus in buses))


async def test_nonsense_on_the_connection_is_no_fault(
    switchboard: Switchboard, second_bus: SharedBus, caplog: pytest.LogCaptureFixture
) -> None:
    for message in ("", " ", "x", "x  y", "\x1b[2J\n\0", "é" * 100_000):
        switchboard.bring(message)
    with second_bus.subscribe("run_1") as bell:
        switchboard.bring("somebody run_1")

        assert await bell.wait(SOON)
    assert not caplog.records


async def test_everybody_is_woken_when_the_connection_breaks_and_when_it_is_back(
    switchboard: Switchboard, first_bus: SharedBus
) -> None:
    returns: list[bool] = []
    first_bus.on_reconnect = lambda: returns.append(first_bus.connected)
    with first_bus.subscribe("leases") as bell:
        switchboard.cut()
        assert await bell.wait(SOON)
        assert not first_bus.connected
        switchboard.away = False
        await comes_up(first_bus)

        assert await bell.wait(0)
    assert returns == [True]


async def test_a_connection_that_breaks_just_after_a_message_is_noticed_at_once() -> None:
    switchboard = Switchboard(pause=0.02)
    first_bus = await up(switchboard, BusTiming(probe=10 * SOON, echo=10 * SOON))
    before = len(switchboard.said)
    first_bus.notify("run_1")
    while len(switchboard.said) == before:
        await asyncio.sleep(0)
    switchboard.cut()

    await goes_down(first_bus)
    await first_bus.close()


async def test_waits_are_short_where_no_notification_can_come(
    switchboard: Switchboard, first_bus: SharedBus
) -> None:
    switchboard.cut()
    await goes_down(first_bus)
    start = asyncio.get_running_loop().time()
    with first_bus.subscribe("leases") as bell:
        assert not await bell.wait(SOON)

    assert asyncio.get_running_loop().time() - start < SOON / 2


async def test_notifications_without_a_connection_are_sent_afterwards(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    switchboard.away = True  # noticed only by a bus that sends
    first_bus.notify("run_1")
    await goes_down(first_bus)
    first_bus.notify("run_2")
    with second_bus.subscribe("run_1") as first_bell, second_bus.subscribe("run_2") as second_bell:
        switchboard.away = False

        assert await first_bell.wait(SOON)
        assert await second_bell.wait(SOON)


async def test_a_connection_that_brings_nothing_back_is_replaced(
    switchboard: Switchboard,
) -> None:
    first_bus = await up(switchboard, QUICK)
    switchboard.deaf = True
    await goes_down(first_bus)
    switchboard.deaf = False

    await comes_up(first_bus)
    await first_bus.close()


async def test_a_connection_that_takes_too_long_to_open_is_replaced(
    switchboard: Switchboard,
) -> None:
    switchboard.silent = True
    first_bus = SharedBus(switchboard, timing=QUICK)
    with first_bus.subscribe("nothing") as bell:
        while switchboard.waiting < 2:
            await bell.wait(0.01)
    switchboard.silent = False

    await comes_up(first_bus)
    await first_bus.close()


async def test_the_loss_of_the_backend_and_its_return_are_logged_once_each(
    switchboard: Switchboard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # the level at which a server logs by default
    switchboard.away = True
    first_bus = SharedBus(switchboard, timing=QUICK)
    with first_bus.subscribe("run_1") as bell:
        first_bus.notify("run_1")
        assert await bell.wait(SOON)
        await bell.wait(10 * QUICK.retry[0])
    switchboard.away = False
    await comes_up(first_bus)
    await first_bus.close()

    lost_message, back_message = [record.getMessage() for record in caplog.records]
    assert lost_message == (
        "no wake-ups come through the switchboard (nobody answers at all);"
        " readers look for themselves each second"
    )
    assert back_message == "wake-ups come through the switchboard again"


async def test_the_last_notifications_are_sent_before_a_bus_closes(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    with second_bus.subscribe("queue") as bell:
        first_bus.notify("queue")
        await first_bus.close()

        assert await bell.wait(SOON)


async def test_a_bus_that_closes_before_its_connection_is_open_still_sends_notifications(
    switchboard: Switchboard, second_bus: SharedBus
) -> None:
    with second_bus.subscribe("queue") as bell:
        first_bus = SharedBus(switchboard)
        first_bus.notify("queue")
        await first_bus.close()

        assert await bell.wait(SOON)


async def test_a_bus_without_its_backend_closes_at_once(
    switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "CLOSE_SECONDS", 3_600.0)
    switchboard.away = True
    first_bus = SharedBus(switchboard)
    first_bus.notify("queue")

    async with asyncio.timeout(60):
        await first_bus.close()


async def test_a_turn_is_offered_to_the_own_process_before_the_others(
    switchboard: Switchboard, first_bus: SharedBus, second_bus: SharedBus
) -> None:
    with first_bus.subscribe(QUEUE) as first_bell, second_bus.subscribe(QUEUE) as second_bell:
        first_bus.notify(QUEUE)
        first_bus.notify("run_1")

        assert await first_bell.wait(SOON)
        assert await second_bell.wait(SOON)
    sent_topics = [topics(message) for message in switchboard.said if topics(message)]
    assert sent_topics == [["run_1"], [QUEUE]]
