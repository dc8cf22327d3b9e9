"""Appends the events of one turn to the log: numbers them, stores them, then notifies readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from antiphon.engine.snapshot import Claim
from antiphon.ports import Bus, RunStore
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import STORED, Metrics
from antiphon.types import events
from antiphon.types.events import Event, ToolsListed, TurnRestarted

BEHIND_BYTES = 1_000_000  # of events that are not stored yet, before the model has to wait


class EventWriter:
    """Writer of a turn's events."""

    def __init__(self, store: RunStore, bus: Bus, claim: Claim, metrics: Metrics) -> None:
        self.last = claim.lease.last_event
        self._on_next_commit: Callable[[], None] | None = None
        self._store = store
        self._bus = bus
        self._run_id = claim.run.id
        self._epoch = claim.lease.epoch
        self._attempt = claim.run.attempt
        self._pending = 0  # appends on their way
        self._size = 0
        self._idle: asyncio.Future[None] | None = None
        self._fault: Exception | None = None
        self._urgent = True  # the first event of a reply is not batched
        self._metrics = metrics

    @property
    def is_behind(self) -> bool:
        """True while so much is not yet stored that the model should wait."""
        return self._size > BEHIND_BYTES

    def call_on_next_commit(self, callback: Callable[[], None]) -> None:
        """Call this once, when the events that are written next are stored."""
        self._on_next_commit = callback

    def write(self, new: Sequence[Event]) -> None:
        """Append events in order; return at once. Raises the error of an earlier append."""
        if self._fault is not None:
            raise self._fault
        if not new:
            return
        lines = [events.encode(event) for event in new]
        size = sum(map(len, lines))
        first = self.last + 1
        self.last += len(lines)
        self._size += size
        self._pending += 1
        callback, self._on_next_commit = self._on_next_commit, None
        on_commit = partial(self._on_commit, size, self.last, monotonic(), callback)
        self._store.append(self._run_id, self._epoch, first, lines, on_commit, urgent=self._urgent)
        self._urgent = self._urgent and isinstance(new[-1], ToolsListed)

    def restart(self, reason: str, after: int, message: str) -> None:
        """Write that all events after `after` are void, with the reason."""
        restarted = TurnRestarted(
            reason=reason, after=after, attempt=self._attempt, message=message
        )
        self.write([restarted])

    async def flush(self) -> None:
        """Wait until everything written so far is stored. Raises `Fenced` or `Unavailable`."""
        if self._pending:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)
        if self._fault is not None:
            raise self._fault

    def _on_commit(
        self,
        size: int,
        last: int,
        began: float,
        callback: Callable[[], None] | None,
        fault: Exception | None,
    ) -> None:
        self._pending -= 1
        self._size -= size
        if fault is None:
            self._metrics.record_commit(self._run_id, last)
            self._metrics.observe(STORED, monotonic() - began, "append")
            if callback is not None:
                callback()
            self._bus.notify(self._run_id)
            hit("append.after_wake")
        elif self._fault is None:
            self._fault = fault  # later events are refused: they would leave a gap
        if self._idle is not None and not self._pending:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
