"""Work that a turn hands to a thread: it is finished, and its result is kept, whatever happens."""

from __future__ import annotations

import asyncio
import threading

import pytest

from antiphon.runtime.turn_runner import wait_in_thread


async def test_what_a_reply_said_is_kept_though_the_deadline_falls_while_it_is_read() -> None:
    going, kept = threading.Event(), list[str]()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> str:
        loop.call_soon_threadsafe(began.set)
        assert going.wait(60)
        return "a large piece"

    reading = asyncio.create_task(wait_in_thread(read, kept.append))
    await began.wait()
    reading.cancel()
    loop.call_later(0, going.set)

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert kept == ["a large piece"]


async def test_work_that_fails_raises_its_own_error_and_keeps_nothing() -> None:
    kept = list[str]()

    def fail() -> str:
        raise ValueError("no reply")

    with pytest.raises(ValueError, match="no reply"):
        await wait_in_thread(fail, kept.append)
    assert kept == []
