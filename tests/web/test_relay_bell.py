"""The bell of a relay's reader: no news is lost, and one reader does not stop another."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.web.relay import NewsBell
from tests.support.web.served import SECONDS


def _wakes() -> bool:
    return False


async def test_a_ring_before_the_wait_is_not_lost() -> None:
    bell = NewsBell()
    bell.ring()

    async with asyncio.timeout(SECONDS):
        await bell.wait(_wakes)


async def test_news_that_are_handled_do_not_wake_the_reader() -> None:
    bell, handled = NewsBell(), list[int]()

    def handle() -> bool:
        handled.append(1)
        return len(handled) < 3

    waiting = asyncio.create_task(bell.wait(handle))
    await asyncio.sleep(0)
    bell.ring()
    bell.ring()
    await asyncio.sleep(0)
    waits = not waiting.done()
    bell.ring()
    async with asyncio.timeout(SECONDS):
        await waiting

    assert waits
    assert len(handled) == 3


async def test_a_ring_between_waking_and_the_next_wait_is_not_lost() -> None:
    bell = NewsBell()
    waiting = asyncio.create_task(bell.wait(_wakes))
    await asyncio.sleep(0)
    bell.ring()
    await waiting
    bell.ring()

    async with asyncio.timeout(SECONDS):
        await bell.wait(_wakes)


async def test_an_error_while_news_are_handled_is_the_readers_own() -> None:
    bell = NewsBell()

    def handle() -> bool:
        raise ConnectionError("the reader has gone")

    waiting = asyncio.create_task(bell.wait(handle))
    await asyncio.sleep(0)
    bell.ring()

    with pytest.raises(ConnectionError):
        await waiting
