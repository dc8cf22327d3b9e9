"""Subscriptions of a relay's readers: no news is lost, and one reader does not stop another."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.web.relay import RelaySubscription
from tests.support.web.served import SECONDS


def _handle_nothing() -> bool:
    return False


async def test_a_notification_before_the_wait_is_not_lost() -> None:
    subscription = RelaySubscription()
    subscription.notify()

    async with asyncio.timeout(SECONDS):
        await subscription.wait(_handle_nothing)


async def test_news_that_are_handled_do_not_wake_the_reader() -> None:
    subscription, handled_news = RelaySubscription(), list[int]()

    def handle() -> bool:
        handled_news.append(1)
        return len(handled_news) < 3

    wait_task = asyncio.create_task(subscription.wait(handle))
    await asyncio.sleep(0)
    subscription.notify()
    subscription.notify()
    await asyncio.sleep(0)
    is_waiting = not wait_task.done()
    subscription.notify()
    async with asyncio.timeout(SECONDS):
        await wait_task

    assert is_waiting
    assert len(handled_news) == 3


async def test_a_notification_between_waking_and_the_next_wait_is_not_lost() -> None:
    subscription = RelaySubscription()
    wait_task = asyncio.create_task(subscription.wait(_handle_nothing))
    await asyncio.sleep(0)
    subscription.notify()
    await wait_task
    subscription.notify()

    async with asyncio.timeout(SECONDS):
        await subscription.wait(_handle_nothing)


async def test_an_error_while_news_are_handled_is_the_readers_own() -> None:
    subscription = RelaySubscription()

    def handle() -> bool:
        raise ConnectionError("the reader has gone")

    wait_task = asyncio.create_task(subscription.wait(handle))
    await asyncio.sleep(0)
    subscription.notify()

    with pytest.raises(ConnectionError):
        await wait_task
