"""Metrics of several processes in shared memory, one place for each process.

Each process also counts the turns of its event loop there, for the supervisor.

Forked processes share the memory. Reading never waits, and the metrics of a process stay after its
death.
"""

from __future__ import annotations

import mmap
from struct import Struct
from zlib import crc32

import msgspec

from antiphon.telemetry.metrics import MetricsSnapshot

BYTES = 4_194_304  # of a place: more than all series take; unused pages cost nothing
GLANCES = 10  # reads of a place that is being written

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
        told = _encode(numbers)
        if len(told) + _HEAD.size > BYTES:
            return
        start = place * BYTES
        _HEAD.pack_into(self._memory, start, 0, 0)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(told)] = told
        _HEAD.pack_into(self._memory, start, len(told), crc32(told))

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
        for _ in range(GLANCES):
            size, total = _HEAD.unpack_from(self._memory, start)
            told = self._memory[start + _HEAD.size : start + _HEAD.size + size]
            if size and crc32(told) == total:
                return _decode(told)
        return _NOTHING
