"""Batching of appends: those of many runs are gathered and written together.

A transaction for each event of each stream would cost any database too much. An append after a
pause is written at once. Those that follow within milliseconds, or while a batch is being written,
are the next batch: several events of a run then cost one row, one notification and one packet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from antiphon.ports import OnCommit
from antiphon.stores import invariants
from antiphon.types.errors import Unavailable

GATHER_SECONDS = 0.020
"""Seconds between two batches: a commit costs half a millisecond, however few events it has."""


@dataclass(slots=True)
class PendingAppend:
    """Consecutive events of a run in one epoch, and the callbacks to call once they are written."""

    run_id: str
    epoch: int
    first: int
    lines: list[bytes]
    on_commit: list[OnCommit]

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.first + len(self.lines) - 1

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))


OnWritten = Callable[[Collection[int] | None, Exception | None], None]
"""Called on the loop with the places in the batch that were fenced, or with the error of all."""
StartWrite = Callable[[Sequence[PendingAppend], OnWritten], None]
"""Starts to write a batch, in which no (run, epoch) occurs twice."""


_Key = tuple[str, int]
"""A run's id and an epoch."""


class AppendBatcher:
    """Gathers what `RunStore.append` is given, and starts a write per batch; used on the loop."""

    def __init__(self, write: StartWrite) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._pending: dict[_Key, PendingAppend] = {}
        self._urgent: list[_Key] = []
        self._flushed_at = 0.0
        self._timer: asyncio.Handle | None = None
        self._overdue = False
        self._in_flight = 0

    def add(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """See `RunStore.append`."""
        key = run_id, epoch
        batch = self._pending.get(key)
        if batch is None:
            self._pending[key] = PendingAppend(run_id, epoch, first, [*lines], [on_commit])
        elif batch.last + 1 == first:
            batch.lines.extend(lines)
            batch.on_commit.append(on_commit)
        else:
            self._loop.call_soon(on_commit, invariants.append_fenced_error(run_id, epoch, first))
            return
        if urgent:
            if not self._urgent:
                # On the next iteration, so that urgent appends of one iteration go together.
                self._loop.call_soon(self._flush_urgent)
            self._urgent.append(key)
        elif self._timer is None and not self._overdue:
            self._timer = self._loop.call_at(self._flushed_at + GATHER_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Write what is gathered, even if other batches are being written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._overdue = False
        if self._pending:
            self._flushed_at = self._loop.time()
            self._start_write(list(self._pending))

    def flush_run(self, run_id: str) -> None:
        """Write what is gathered of this run, apart from the batch of the other runs."""
        self._start_write([key for key in self._pending if key[0] == run_id])

    def _flush_urgent(self) -> None:
        urgent, self._urgent = dict.fromkeys(self._urgent), []
        self._start_write([key for key in urgent if key in self._pending])

    def _start_write(self, keys: Sequence[_Key]) -> None:
        if not keys:
            return
        batch = [self._pending.pop(key) for key in keys]
        self._in_flight += 1
        settle = partial(self._on_written, batch)
        try:
            self._write(batch, settle)
        except Unavailable as fault:
            self._loop.call_soon(settle, None, fault)

    def _on_timer(self) -> None:
        self._timer = None
        if self._in_flight:
            self._overdue = True
        else:
            self.flush()

    def _on_written(
        self,
        batch: Sequence[PendingAppend],
        refused: Collection[int] | None,
        fault: Exception | None,
    ) -> None:
        self._in_flight -= 1
        for place, each in enumerate(batch):
            reason = fault
            if refused and place in refused:
                reason = invariants.append_fenced_error(each.run_id, each.epoch, each.first)
            for on_commit in each.on_commit:
                on_commit(reason)
        if self._overdue and not self._in_flight:
            self.flush()
