"""Watchdog: finds processes whose event loops have no turns any more, so that others can begin.

A loop that computes without a pause is found by its own process. A thread could not do that, for
what spins may hold the interpreter's lock. The kernel counts the processor time of the process
instead, and the loop sets the count back as long as it has its turns. Time in which the process is
stopped, the machine asleep or busy with others does not count.

A loop that waits without using the processor, as in a deadlock, is found from outside: it counts
its turns, and the supervisor of several processes looks at the counts.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SIGNAL: int | None = signal.SIGPROF if sys.platform != "win32" else None
"""Ends the process, after the stacks of all its threads were written to stderr."""
BEATS = 5  # in the time that the loop has
LONGEST_BEAT = 1.0  # seconds
LOOKS = 12  # at the turns of other processes, in the time that these have
LATE_LOOKS = 3  # looks that may be missed before one is late


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
    beating = asyncio.create_task(_reset_timer(seconds), name="antiphon watchdog")
    try:
        yield
    finally:
        beating.cancel()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)


async def count_turns(count: Callable[[], None], seconds: float) -> None:
    """Count turns of the running loop, often enough for a `StallWatch` of so many seconds."""
    while True:
        count()
        await asyncio.sleep(min(LONGEST_BEAT, seconds / BEATS) if seconds else LONGEST_BEAT)


class StallWatch:
    """Since when the loop of each process has had no turn, by the time in which others had theirs.

    `timeout` is in seconds, 0 for never; `elapsed` gives seconds since some moment.
    """

    def __init__(self, timeout: float, elapsed: Callable[[], float]) -> None:
        self._timeout = timeout
        self._elapsed = elapsed
        self._looked = elapsed()
        self._seen: dict[int, tuple[int, float]] = {}

    @property
    def pause(self) -> float | None:
        """The seconds until the next look is due; None where none ever is."""
        if not self._timeout:
            return None
        return max(0.0, self._looked + self._timeout / LOOKS - self._elapsed())

    def find_stalled(self, turns: Mapping[int, int]) -> Sequence[int]:
        """Return the processes whose loops had no turn for the timeout.

        `turns` are the counts of those that serve now; what is known of any other is forgotten.
        After a look that came late, as after a machine was asleep, all have the whole time again:
        nobody knows whether they could have had a turn.
        """
        now = self._elapsed()
        late = now - self._looked > LATE_LOOKS * self._timeout / LOOKS
        self._looked = now
        known = {} if late else self._seen
        self._seen = {
            process: known[process] if known.get(process, (None,))[0] == count else (count, now)
            for process, count in turns.items()
        }
        if not self._timeout:
            return ()
        return [each for each, (_, since) in self._seen.items() if now - since >= self._timeout]


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped the process, where the system says so."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b") ")[2][:1] in (b"T", b"t")


async def _reset_timer(seconds: float) -> None:
    """Give the loop so many seconds from each of its turns on."""
    while True:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, seconds)
        await asyncio.sleep(min(LONGEST_BEAT, seconds / BEATS))
