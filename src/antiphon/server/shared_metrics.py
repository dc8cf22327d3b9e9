"""The numbers of several processes, on a board that all of them see: each has a place there.

Beside them each process counts the turns of its event loop, for whoever looks after it.

It is memory that forks share. Who asks for numbers waits for nobody, and what a process has counted
stays when it has died.
"""

from __future__ import annotations

import mmap
from struct import Struct
from zlib import crc32

import msgspec

from antiphon.telemetry.metrics import MetricsSnapshot

BYTES = 4_194_304  # of a place: more than all series take; what is never written costs nothing
GLANCES = 10  # at a place that is written just then

_NOTHING = MetricsSnapshot({})
_HEAD = Struct("<II")  # how many bytes, and their sum
_TURNS = Struct("<Q")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(MetricsSnapshot).decode


class SharedMetrics:
    """Places by number; the last is for what those have counted who are gone."""

    def __init__(self, places: int) -> None:
        self._gone = places
        self._memory = mmap.mmap(-1, (places + 1) * BYTES)
        self._turns = mmap.mmap(-1, places * _TURNS.size)

    def count_turn(self, place: int) -> None:
        """Count another turn of a process's event loop; only its owner does."""
        _TURNS.pack_into(self._turns, place * _TURNS.size, self.turns(place) + 1)

    def turns(self, place: int) -> int:
        """Return how many turns all processes of this place have counted."""
        (turns,) = _TURNS.unpack_from(self._turns, place * _TURNS.size)
        return int(turns)

    def publish(self, place: int, numbers: MetricsSnapshot) -> None:
        """Show these numbers in the place of those that were there; only its owner does."""
        told = _encode(numbers)
        if len(told) + _HEAD.size > BYTES:
            return
        start = place * BYTES
        _HEAD.pack_into(self._memory, start, 0, 0)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(told)] = told
        _HEAD.pack_into(self._memory, start, len(told), crc32(told))

    def read_others(self, place: int) -> MetricsSnapshot:
        """What all others have counted."""
        numbers = _NOTHING
        for other in range(self._gone + 1):
            if other != place:
                numbers += self._read(other)
        return numbers

    def retire(self, place: int) -> None:
        """Keep what a process has counted that is gone, and leave its place empty."""
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
