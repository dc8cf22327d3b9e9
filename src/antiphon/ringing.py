"""Changes, and rings for everybody whom they concern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.engine.records import Change, Records
from antiphon.ports import LEASES, QUEUE, About, Bus, Store
from antiphon.runs import Action
from antiphon.telemetry.measures import TOOLS
from antiphon.telemetry.metrics import Metrics


class Changes:
    """Makes changes that somebody may wait for."""

    def __init__(self, store: Store, bus: Bus, metrics: Metrics) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics

    async def change(self, about: About, decide: Callable[[Records], Change | None]) -> Any:
        """The change, and then a ring for everybody whom it concerns."""
        written: Change | None = None

        def remembered(records: Records) -> Change | None:
            nonlocal written
            written = decide(records)
            return written

        with self._metrics.stored(about.what):
            answer = await self._store.change(about, remembered)
        self._note_outputs(written.actions if written else ())
        for driven in written.driven if written else ():
            self._bus.ring(driven.run.id)
            if driven.drive.wanted:
                self._bus.ring(QUEUE)
            if driven.run.status.ended:
                self._bus.ring(LEASES)
        return answer

    def _note_outputs(self, actions: Sequence[Action]) -> None:
        """How long clients took for what they were asked; nobody is waited for but them."""
        for action in actions:
            if action.runs_on == "client" and action.ended_at is not None:
                seconds = (action.ended_at - action.created_at) / 1000
                self._metrics.observe(TOOLS, seconds, "client", action.status)
