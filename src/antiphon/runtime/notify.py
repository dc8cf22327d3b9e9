"""Changes, and rings for everybody whom they concern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.ports import LEASES, QUEUE, Bus, ReadSet, Store
from antiphon.telemetry.metrics import TOOLS, Metrics
from antiphon.types.runs import Action

Decide = Callable[[Snapshot], ChangeSet | None]


async def commit_in_parts(store: Store, about: ReadSet, decide: Decide) -> Any:
    """Change the store until nothing is left of the change; return the answer of its last part.

    Each part is a transaction of its own, so that others are written in between. What has ended in
    the middle is continued by deciding again.
    """
    while True:
        written, answer = await _commit_part(store, about, decide)
        if written is None or not written.more:
            return answer


async def _commit_part(
    store: Store, about: ReadSet, decide: Decide
) -> tuple[ChangeSet | None, Any]:
    """Return what was written, None for nothing, and its answer."""
    written: ChangeSet | None = None

    def remembered(records: Snapshot) -> ChangeSet | None:
        nonlocal written
        written = decide(records)
        return written

    answer = await store.change(about, remembered)
    return written, answer


class ChangeCommitter:
    """Makes changes that somebody may wait for."""

    def __init__(self, store: Store, bus: Bus, metrics: Metrics) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics

    async def commit_and_notify(self, about: ReadSet, decide: Decide) -> Any:
        """Make the change, and ring for everybody whom it concerns; return its answer.

        One that is made in parts is made to its end, with other changes in between.
        """
        while True:
            with self._metrics.measure_store(about.what):
                written, answer = await _commit_part(self._store, about, decide)
            if written is not None:
                self._ring(written)
            if written is None or not written.more:
                return answer

    def _ring(self, written: ChangeSet) -> None:
        self._note_outputs(written.actions)
        for driven in written.run_updates:
            self._bus.notify(driven.run.id)
            if driven.lease.wanted:
                self._bus.notify(QUEUE)
            if driven.run.status.ended:
                self._bus.notify(LEASES)

    def _note_outputs(self, actions: Sequence[Action]) -> None:
        """How long clients took for what they were asked; nobody is waited for but them."""
        for action in actions:
            if action.runs_on == "client" and action.ended_at is not None:
                seconds = (action.ended_at - action.created_at) / 1000
                self._metrics.observe(TOOLS, seconds, "client", action.status)
