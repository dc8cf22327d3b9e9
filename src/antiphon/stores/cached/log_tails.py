"""LRU cache of the newest events of runs, as far as this process wrote them.

Only stored events are cached, and events never change: a tail may be incomplete, never wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

V = TypeVar("V")

ENTRY_BYTES = 1_000  # about, for each entry


class LruCache(Generic[V]):
    """LRU cache bounded by bytes, as counted by its callers."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, V] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, key: str) -> V | None:
        """Return the value and mark it as the most recently used."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: str, value: V, size: int) -> None:
        """Set the value as the most recently used."""
        self.drop(key)
        self._kept[key] = value
        self._sizes[key] = 0
        self.grow(key, size + ENTRY_BYTES)

    def grow(self, key: str, more: int) -> None:
        """Count `more` bytes for the value; evict the least recently used values if needed."""
        self._sizes[key] += more
        self._bytes += more
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str | None) -> None:
        """Remove the key, if present."""
        if key is not None and self._kept.pop(key, None) is not None:
            self._bytes -= self._sizes.pop(key)

    def clear(self) -> None:
        """Remove everything."""
        self._kept.clear()
        self._sizes.clear()
        self._bytes = 0


TAIL_BYTES = 256_000  # of one run's log; readers further behind read the inner store
ENDED_BYTES = 4_000_000  # of runs that have ended: their readers soon have read everything
LINE_BYTES = 50  # of memory for each line, beside what is in it


class LogTails:
    """Log tails of active runs, and for a while of those that have ended."""

    def __init__(self, max_bytes: int) -> None:
        self._active: LruCache[LogTail] = LruCache(max_bytes)
        self._ended: LruCache[LogTail] = LruCache(ENDED_BYTES)

    def get(self, run_id: str) -> LogTail | None:
        """Return the newest events of a run, if cached."""
        return self._active.get(run_id) or self._ended.get(run_id)

    def extend(self, run_id: str, first: int, lines: Sequence[bytes], *, ended: bool) -> None:
        """Add lines that were stored; `ended` says that they are the run's last.

        Lines that are added after a run's last ones were stored before these, and are left out.
        """
        tail = self._active.get(run_id)
        if tail is None and self._ended.get(run_id) is not None:
            return
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
        """Remove the run's tail."""
        self._active.drop(run_id)
        self._ended.drop(run_id)

    def clear(self) -> None:
        """Remove all tails."""
        self._active.clear()
        self._ended.clear()


class LogTail:
    """The newest stored events of a run, from number `first` on, without a gap."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.ended = False
        self.size = 0
        self._lines: list[bytes] = []

    def after(self, number: int) -> Sequence[bytes]:
        """Return the events above `number`; none if the tail begins later or ends before."""
        return self._lines[number + 1 - self.first :] if number + 1 >= self.first else ()

    def extend(self, first: int, lines: Sequence[bytes], *, ended: bool) -> None:
        """Add events; after a gap start over with these, because readers ask for the newest."""
        end = self.first + len(self._lines)
        if first > end:
            self.first, self._lines, self.size = first, [], 0
        place = len(self._lines)
        if first + len(lines) == self.first:  # stored before the others, and reported after them
            self.first, place = first, 0
        elif first < end:
            lines = lines[end - first :]  # stored out of order: the others are here already
        self._lines[place:place] = lines
        self.size += _size(lines)
        self.ended = self.ended or ended
        if self.size > TAIL_BYTES:  # drop the older half, so that this is rare
            half = len(self._lines) // 2
            self.size -= _size(self._lines[:half])
            self.first += half
            del self._lines[:half]


def _size(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + LINE_BYTES * len(lines)
