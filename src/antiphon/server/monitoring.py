"""Monitoring of server processes: a watchdog for blocked event loops, and metrics of all processes.

A loop that computes without a pause is detected by its own process. A thread could not do that,
because the blocking code may hold the interpreter's lock. Instead the kernel counts the processor
time of the process, and the loop resets the timer at each turn. Time in which the process is
stopped, or the machine asleep or busy with others, does not count.

A loop that blocks without using the processor, as in a deadlock, is detected by the supervisor of
several processes: each loop counts its turns in shared memory, and the supervisor checks the
counts.
"""

from __future__ import annotations

import asyncio
import faulthandler
import mmap
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from zlib import crc32

import msgspec

from antiphon.telemetry.metrics import MetricsSnapshot

SIGNAL: int | None = signal.SIGPROF if sys.platform != "win32" else None
"""Signal that writes the stacks of all threads to stderr and ends the process."""
BEATS = 5  # timer resets within the allowed time
MAX_BEAT_SECONDS = 1.0
CHECKS = 12  # checks of other processes' turns within their timeout
LATE_CHECKS = 3  # missed checks after which a check counts as late


@contextmanager
def watch_loop(seconds: float) -> Generator[None]:
    """Watch the running loop during the block; 0 seconds switches it off.

    The process, with all its threads, may use this many seconds of processor time between two turns
    of the loop. Nothing is watched on Windows, which cannot count them.
    """
    if not seconds or sys.platform == "win32":
        yield
        return
    # The handler is in C and needs no lock; chained to it is the signal's default action.
    faulthandler.register(signal.SIGPROF, file=2, all_threads=True, chain=True)
    beating = asyncio.create_task(_reset_timer(seconds), name="antiphon watchdog")
    try:
        yield
    finally:
        beating.cancel()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)


async def count_turns(count: Callable[[], None], seconds: float) -> None:
    """Count turns of the running loop, often enough for a `StallWatch` with this timeout."""
    while True:
        count()
        await asyncio.sleep(min(MAX_BEAT_SECONDS, seconds / BEATS) if seconds else MAX_BEAT_SECONDS)


class StallWatch:
    """Finds processes whose loops have had no turn for `timeout` seconds; 0 is never.

    `elapsed` returns seconds since some moment.
    """

    def __init__(self, timeout: float, elapsed: Callable[[], float]) -> None:
        self._timeout = timeout
        self._elapsed = elapsed
        self._checked_at = elapsed()
        self._seen: dict[int, tuple[int, float]] = {}

    @property
    def pause(self) -> float | None:
        """Seconds until the next check; None if there are no checks."""
        if not self._timeout:
            return None
        return max(0.0, self._checked_at + self._timeout / CHECKS - self._elapsed())

    def find_stalled(self, turns: Mapping[int, int]) -> Sequence[int]:
        """Return the processes whose loops had no turn for the timeout.

        `turns` are the counts of the processes that serve now; others are forgotten. After a late
        check, as when the machine was asleep, all timeouts start again, because the processes may
        not have had a chance to run.
        """
        now = self._elapsed()
        late = now - self._checked_at > LATE_CHECKS * self._timeout / CHECKS
        self._checked_at = now
        known = {} if late else self._seen
        self._seen = {
            process: known[process] if known.get(process, (None,))[0] == count else (count, now)
            for process, count in turns.items()
        }
        if not self._timeout:
            return ()
        return [each for each, (_, since) in self._seen.items() if now - since >= self._timeout]


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped the process; False if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b") ")[2][:1] in (b"T", b"t")


async def _reset_timer(seconds: float) -> None:
    """Reset the timer to these seconds at each turn of the loop."""
    while True:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, seconds)
        await asyncio.sleep(min(MAX_BEAT_SECONDS, seconds / BEATS))


# Metrics of several processes in shared memory, one place for each process.


BYTES = 4_194_304  # of a place: more than all series take; unused pages cost nothing
READ_ATTEMPTS = 10  # reads of a place that is being written

_NOTHING = MetricsSnapshot({})
_HEAD = Struct("<II")  # length and checksum
_TURNS = Struct("<Q")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(MetricsSnapshot).decode


class SharedMetrics:
    """Places by number; the last one sums up the metrics of dead processes."""

    def __init__(self, places: int) -> None:
        self._gone = places
        self._memory = mmap.mmap(-1, (places + 1) * BYTES)
        self._turns = mmap.mmap(-1, places * _TURNS.size)

    def count_turn(self, place: int) -> None:
        """Count a turn of the event loop; called only by the process of this place."""
        _TURNS.pack_into(self._turns, place * _TURNS.size, self.turns(place) + 1)

    def turns(self, place: int) -> int:
        """Return how many turns all processes of this place have counted."""
        (turns,) = _TURNS.unpack_from(self._turns, place * _TURNS.size)
        return int(turns)

    def publish(self, place: int, numbers: MetricsSnapshot) -> None:
        """Replace the metrics of this place; called only by its process."""
        encoded = _encode(numbers)
        if len(encoded) + _HEAD.size > BYTES:
            return
        start = place * BYTES
        _HEAD.pack_into(self._memory, start, 0, 0)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(encoded)] = encoded
        _HEAD.pack_into(self._memory, start, len(encoded), crc32(encoded))

    def read_others(self, place: int) -> MetricsSnapshot:
        """Return the sum of the metrics of all other places."""
        numbers = _NOTHING
        for other in range(self._gone + 1):
            if other != place:
                numbers += self._read(other)
        return numbers

    def retire(self, place: int) -> None:
        """Add the metrics of a dead process to the last place, and clear its own."""
        self.publish(self._gone, self._read(self._gone) + self._read(place).without_gauges())
        self.publish(place, _NOTHING)

    def _read(self, place: int) -> MetricsSnapshot:
        start = place * BYTES
        for _ in range(READ_ATTEMPTS):
            size, total = _HEAD.unpack_from(self._memory, start)
            encoded = self._memory[start + _HEAD.size : start + _HEAD.size + size]
            if size and crc32(encoded) == total:
                return _decode(encoded)
        return _NOTHING
