"""The ends of run logs, as far as this process wrote them itself and their readers ask for them.

What is here is kept already, and events never change; so it can only be short of the truth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

# A dictionary that forgets what was used longest ago, once it holds too much.


V = TypeVar("V")

ENTRY_BYTES = 1_000  # about what it costs to remember anything at all


class LruCache(Generic[V]):
    """At most `max_bytes`, as those who put something there count them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, V] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, key: str) -> V | None:
        """What is kept under the key; it is used now."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: str, value: V, size: int) -> None:
        """Put it in place of what is there, as the newest."""
        self.drop(key)
        self._kept[key] = value
        self._sizes[key] = 0
        self.grow(key, size + ENTRY_BYTES)

    def grow(self, key: str, more: int) -> None:
        """What is kept under the key has become so much larger."""
        self._sizes[key] += more
        self._bytes += more
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str | None) -> None:
        """Forget it, if it is there."""
        if key is not None and self._kept.pop(key, None) is not None:
            self._bytes -= self._sizes.pop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._sizes.clear()
        self._bytes = 0


TAIL_BYTES = 256_000  # of one run's log; a reader further behind asks the inner store
ENDED_BYTES = 4_000_000  # of runs that have ended: their readers are about to have read all
LINE_BYTES = 50  # of memory for each line, beside what is in it


class LogTails:
    """The log tails of runs that are under way, and for a while of those that have ended."""

    def __init__(self, max_bytes: int) -> None:
        self._active: LruCache[LogTail] = LruCache(max_bytes)
        self._ended: LruCache[LogTail] = LruCache(ENDED_BYTES)

    def get(self, run_id: str) -> LogTail | None:
        """The newest events of a run, if they are here."""
        return self._active.get(run_id) or self._ended.get(run_id)

    def extend(self, run_id: str, first: int, lines: Sequence[bytes], *, ended: bool) -> None:
        """Lines that are kept now; the last ones of the run where it has ended with them."""
        tail = self._active.get(run_id)
        if tail is None:
            tail = LogTail(first)
            self._active.put(run_id, tail, 0)
        size = tail.size
        tail.extend(first, lines, ended=ended)
        if ended:
            self._active.drop(run_id)
            self._ended.put(run_id, tail, tail.size)
        else:
            self._active.grow(run_id, tail.size - size)

    def drop(self, run_id: str | None) -> None:
        """Forget the run's."""
        self._active.drop(run_id)
        self._ended.drop(run_id)

    def clear(self) -> None:
        """Forget all."""
        self._active.clear()
        self._ended.clear()


class LogTail:
    """The newest kept events of a run, from number `first` on, without a gap."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.ended = False
        self.size = 0
        self._lines: list[bytes] = []

    def after(self, number: int) -> Sequence[bytes]:
        """The events above `number`; none where the tail begins later or ends before."""
        return self._lines[number + 1 - self.first :] if number + 1 >= self.first else ()

    def extend(self, first: int, lines: Sequence[bytes], *, ended: bool) -> None:
        """Add events; after a gap begin anew, for those that follow are what is asked for next."""
        end = self.first + len(self._lines)
        if first > end:
            self.first, self._lines, self.size = first, [], 0
        elif first < end:
            lines = lines[end - first :]  # told out of order: these came in already
        self._lines.extend(lines)
        self.size += _size(lines)
        self.ended = self.ended or ended
        if self.size > TAIL_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Let go of the older half, at once, so that cutting is rare."""
        dropped = len(self._lines) // 2
        self.size -= _size(self._lines[:dropped])
        self.first += dropped
        del self._lines[:dropped]


def _size(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + LINE_BYTES * len(lines)
