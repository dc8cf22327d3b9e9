"""Appends of many runs, gathered for a few milliseconds and written together.

A transaction per event and stream is what a database cannot bear; a wait of some milliseconds is
what nobody sees. While one batch is being written the next one gathers. With hundreds of runs the
wait is longer: several events of a run then cost one row, one wake-up and one packet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from antiphon.ports import OnCommit
from antiphon.stores import invariants
from antiphon.types.errors import Unavailable

GATHER_SECONDS = 0.010
RUN_SECONDS = 0.0002  # for each run of the last batch, where that is longer: each wakes a reader
LONGEST_SECONDS = 0.040  # two words at 50 a second, which nobody sees come together


@dataclass(slots=True)
class PendingAppend:
    """What one driver of a run appends, and who waits for it."""

    run_id: str
    epoch: int
    first: int
    lines: list[bytes]
    waiting: list[OnCommit]

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.first + len(self.lines) - 1

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))


OnWritten = Callable[[Collection[int] | None, Exception | None], None]
"""Told on the loop which places of the batch the fence refused, or what befell all of it."""
Write = Callable[[Sequence[PendingAppend], OnWritten], None]
"""Starts writing a batch, in which no (run, epoch) occurs twice."""


_Key = tuple[str, int]
"""A driver of a run: its id, and the epoch."""


class AppendBatcher:
    """The gathering side of `Store.append`; lives on the loop."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[_Key, PendingAppend] = {}
        self._urgent: list[_Key] = []
        self._patience = GATHER_SECONDS
        self._alarm: asyncio.Handle | None = None
        self._late = False
        self._on_their_way = 0

    def add(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """See `Store.append`."""
        key = run_id, epoch
        batch = self._gathered.get(key)
        if batch is None:
            self._gathered[key] = PendingAppend(run_id, epoch, first, [*lines], [kept])
        elif batch.last + 1 == first:
            batch.lines.extend(lines)
            batch.waiting.append(kept)
        else:
            self._loop.call_soon(kept, invariants.not_held(run_id, epoch, first))
            return
        if urgent:
            self._hurry(key)
        elif self._alarm is None and not self._late:
            self._alarm = self._loop.call_later(self._patience, self._ready)

    def flush(self) -> None:
        """Hand over what has gathered, even if other batches are still on their way."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._late = False
        if self._gathered:
            self._patience = _patience(len(self._gathered))
            self._hand_over(list(self._gathered))

    def flush_run(self, run_id: str) -> None:
        """Hand over what has gathered of this run; the others' batch is none the smaller for it."""
        self._hand_over([key for key in self._gathered if key[0] == run_id])

    def _hurry(self, key: _Key) -> None:
        """Hand over what is urgent once the loop has gone round, and nothing else with it."""
        if not self._urgent:
            self._loop.call_soon(self._flush_urgent)
        self._urgent.append(key)

    def _flush_urgent(self) -> None:
        urgent, self._urgent = dict.fromkeys(self._urgent), []
        self._hand_over([key for key in urgent if key in self._gathered])

    def _hand_over(self, keys: Sequence[_Key]) -> None:
        if not keys:
            return
        batch = [self._gathered.pop(key) for key in keys]
        self._on_their_way += 1
        settle = partial(self._settle, batch)
        try:
            self._write(batch, settle)
        except Unavailable as fault:
            self._loop.call_soon(settle, None, fault)

    def _ready(self) -> None:
        self._alarm = None
        if self._on_their_way:
            self._late = True
        else:
            self.flush()

    def _settle(
        self,
        batch: Sequence[PendingAppend],
        refused: Collection[int] | None,
        fault: Exception | None,
    ) -> None:
        self._on_their_way -= 1
        for place, each in enumerate(batch):
            reason = fault
            if refused and place in refused:
                reason = invariants.not_held(each.run_id, each.epoch, each.first)
            for kept in each.waiting:
                kept(reason)
        if self._late and not self._on_their_way:
            self.flush()


def _patience(runs: int) -> float:
    """Seconds to gather after a batch of so many runs."""
    return min(LONGEST_SECONDS, max(GATHER_SECONDS, runs * RUN_SECONDS))
