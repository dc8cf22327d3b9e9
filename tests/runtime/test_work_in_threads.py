"""Work that a turn hands to a thread: it is finished, and its result is kept, whatever happens."""

from __future__ import annotations

import asyncio
import threading

import pytest

from antiphon.runtime.turn_runner import wait_in_thread


async def test_what_a_reply_said_is_kept_though_the_deadline_falls_while_it_is_read() -> None:
    may_end, results = threading.Event(), list[str]()
    has_begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> str:
        loop.call_soon_threadsafe(has_begun.set)
        assert may_end.wait(60)
        return "a large piece"

    task = asyncio.create_task(wait_in_thread(read, results.append))
    await has_begun.wait()
    task.cancel()
    loop.call_later(0, may_end.set)

    with pytest.raises(asyncio.CancelledError):
        await task
    assert results == ["a large piece"]


async def test_work_that_fails_raises_its_own_error_and_keeps_nothing() -> None:
    results = list[str]()

    def fail() -> str:
        raise ValueError("no reply")

    with pytest.raises(ValueError, match="no reply"):
        await wait_in_thread(fail, results.append)
    assert results == []
