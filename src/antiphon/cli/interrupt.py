"""Turn SIGINT, SIGTERM and SIGHUP into a cancellation, so that commands can clean up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def run_interruptibly(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine; a signal cancels it and sets the exit code, a second one ends at once."""
    return asyncio.run(_cancel_on_signal(work))


async def _cancel_on_signal(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work())
    caught: list[int] = []

    def interrupt(number: int) -> None:
        caught.append(number)
        for each in SIGNALS:
            loop.remove_signal_handler(each)
        task.cancel()

    for number in SIGNALS:
        try:
            loop.add_signal_handler(number, interrupt, number)
        except NotImplementedError:  # Windows: there Ctrl+C cancels by asyncio's own means
            break
    try:
        return await task
    except asyncio.CancelledError:
        if caught:
            return 128 + caught[0]
        raise
