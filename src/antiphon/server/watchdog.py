"""Watchdog: ends a process whose event loop computes without a pause, so that another can begin.

A thread could not do that, for what spins may hold the interpreter's lock. The kernel counts the
processor time of the process instead, and the loop sets the count back as long as it has its turns.
Time in which the process is stopped, the machine asleep or busy with others does not count.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

SIGNAL: int | None = signal.SIGPROF if sys.platform != "win32" else None
"""Ends the process, after the stacks of all its threads were written to stderr."""
BEATS = 5  # in the time that the loop has
LONGEST_BEAT = 1.0  # seconds


@contextmanager
def watched_loop(seconds: float) -> Generator[None]:
    """Watch the running loop for as long as the block lasts; not at all with 0 seconds.

    The loop may use so many seconds of the processor, with all threads of the process, between two
    of its turns. Nothing is watched on Windows, which cannot count them.
    """
    if not seconds or sys.platform == "win32":
        yield
        return
    # The handler is in C and needs no lock; behind it the signal does what it does by default.
    faulthandler.register(signal.SIGPROF, file=2, all_threads=True, chain=True)
    beating = asyncio.create_task(_beat(seconds), name="antiphon watchdog")
    try:
        yield
    finally:
        beating.cancel()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)


async def _beat(seconds: float) -> None:
    """Give the loop so many seconds from each of its turns on."""
    while True:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, seconds)
        await asyncio.sleep(min(LONGEST_BEAT, seconds / BEATS))
