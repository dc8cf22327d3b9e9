"""Starts what is due of schedules, in every process that has a worker.

The store is the only truth: all processes look at it, and the transaction that starts a run decides
which of them does. A notification makes a change of a schedule count at once.
"""

from __future__ import annotations

import logging
from typing import Protocol

from antiphon.ports import SCHEDULES, Bus, ScheduleStore
from antiphon.runtime.loops import BackgroundLoops
from antiphon.telemetry.metrics import OCCURRENCES, OCCURRENCES_LATE, Metrics
from antiphon.types import errors
from antiphon.types.runs import DAY
from antiphon.types.schedules import StoredSchedule
from antiphon.types.terminal_safe import one_line

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds between looks at the store without a notification."""
RETRY_SECONDS = 5.0
"""Seconds until a schedule that waits for something is looked at again."""
MIN_PAUSE = 0.05
AT_ONCE = 100
"""Schedules that are read at once."""
MIN_HISTORY = 90 * DAY
"""Seconds for which history is kept at least: a schedule may have a time a month."""
FORGET_SECONDS = 600.0
FORGOTTEN_AT_ONCE = 500


class DueStarter(Protocol):
    """Starts what is due of a schedule."""

    async def start_due(self, stored: StoredSchedule) -> str:
        """Start what is due, one run at most; return the outcome. Raises `TryAgain`."""
        ...


class Scheduler:
    """Looks for schedules that are due, and has them started.

    History is kept for `retention` seconds, but for `MIN_HISTORY` at least.
    """

    def __init__(
        self,
        store: ScheduleStore,
        bus: Bus,
        starter: DueStarter,
        *,
        retention: float,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._loops = BackgroundLoops(bus)
        self._starter = starter
        self._retention_ms = int(max(retention, MIN_HISTORY) * 1000)
        self._metrics = metrics or Metrics()

    def start(self) -> None:
        """Start to look; a second call does nothing."""
        if not self._loops.started:
            self._loops.start("schedules", self._start_next, topic=SCHEDULES)
            self._loops.start("old occurrences", self._delete_old_occurrences)

    async def stop(self) -> None:
        """Start no more. A run that is being started is started, or not at all."""
        await self._loops.stop()

    async def start_due(self) -> bool:
        """Start all that is due now; return whether anything that is due must wait."""
        after, waits = "", False
        while page := await self._store.due_schedules(AT_ONCE, after):
            for stored in page:
                waits |= await self._start_one(stored)
            after = page[-1].schedule.id
        return waits

    async def _start_one(self, stored: StoredSchedule) -> bool:
        schedule = stored.schedule
        try:
            outcome = await self._starter.start_due(stored)
        except errors.TryAgain:
            raise
        except Exception:  # one broken schedule must not keep the others from starting
            log.exception("schedule %s is due and cannot be started", schedule.id)
            return True
        if outcome in ("waiting", "moved"):
            return outcome == "waiting"
        self._metrics.add(OCCURRENCES, outcome)
        if outcome == "started" and schedule.next_at is not None:
            late = max(0, await self._store.now() - schedule.next_at) / 1000
            self._metrics.observe(OCCURRENCES_LATE, late)
        level = logging.INFO if outcome in ("started", "missed") else logging.WARNING
        log.log(level, "schedule %s of %s: %s", schedule.id, one_line(stored.owner), outcome)
        return False

    async def _start_next(self) -> float:
        """Start what is due; return the seconds until the next look at the store."""
        if await self.start_due():
            return RETRY_SECONDS
        next_at = await self._store.next_schedule_time()
        if next_at is None:
            return PATIENCE
        return min(max((next_at - await self._store.now()) / 1000, MIN_PAUSE), PATIENCE)

    async def _delete_old_occurrences(self) -> float:
        before = await self._store.now() - self._retention_ms
        while await self._store.delete_occurrences(before, FORGOTTEN_AT_ONCE):
            pass
        return FORGET_SECONDS
