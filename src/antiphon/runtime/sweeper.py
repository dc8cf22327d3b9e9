"""Finds runs that nobody moves on: overdue, waiting for another program, or left by a dead worker.

Every process sweeps; `engine/transitions` decides in a transaction, so that two sweeps at once do
no more than one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from antiphon.engine import transitions
from antiphon.engine.destinations import report_waiting
from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.ports import QUEUE, Bus, RunStore
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.notify import commit_in_parts
from antiphon.telemetry.failpoints import hit
from antiphon.types import errors
from antiphon.types.ids import Mint
from antiphon.types.runs import Serves, Status

log = logging.getLogger(__name__)

SWEPT_AT_ONCE = 1000
STUCK_SECONDS = 3600.0  # the longest pause of an overdue run that cannot be expired
UNCLAIMED_SECONDS = 10.0  # until a queued run is marked as waiting; a claim takes one at most


class _Stuck(NamedTuple):
    """An overdue run that could not be expired: its pause and the pause's end, both in seconds."""

    pause: float
    until: float


class Sweeper:
    """Sweeps for the worker with this name, which runs what `is_running` says.

    `dead` returns whether the worker of a name is certainly dead; `serves` whether runs with a
    destination can be run from here. With `watch`, a lease counts as lost only if the watch agrees.
    `interval` is the time between two sweeps, in seconds.
    """

    def __init__(
        self,
        store: RunStore,
        bus: Bus,
        mint: Mint,
        name: str,
        *,
        interval: float,
        is_running: Callable[[str], bool],
        dead: Callable[[str], bool],
        serves: Serves,
        watch: LeaseWatch | None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._name = name
        self._interval = interval
        self._is_running = is_running
        self._is_dead = dead
        self._serves = serves
        self._watch = watch
        self._stuck: dict[str, _Stuck] = {}
        self._marked: set[str] = set()  # runs that are marked as waiting
        self._unknown: set[tuple[str, int]] = set()  # leases of ours whose run we do not run

    async def sweep(self) -> float:
        """Expire, mark and release runs; return the seconds until the next sweep."""
        await self._expire_overdue_runs()
        await self._mark_waiting_runs()
        await self._release_lost_runs()
        return self._interval

    async def _expire_overdue_runs(self) -> None:
        """Expire every overdue run; a run that fails is retried after a pause that doubles.

        Raises `TryAgain` if two runs in a row cannot be written: the store is unavailable.
        """
        due = await self._store.overdue_runs(SWEPT_AT_ONCE)
        if self._watch is not None:
            self._watch.observe(await self._store.leases(SWEPT_AT_ONCE), due)
        self._stuck = {run_id: self._stuck[run_id] for run_id in due if run_id in self._stuck}
        away = False
        for run_id in due:
            if run_id in self._stuck and self._stuck[run_id].until > monotonic():
                continue
            try:
                await self._expire_run(run_id)
            except errors.NotFound:
                pass  # it was deleted in between
            except errors.TryAgain as fault:
                if away:
                    raise
                away = True
                log.warning("run %s is overdue and waits: %s", run_id, fault.message)
                self._postpone(run_id)
                continue
            except Exception:  # one broken run must not keep the others from expiring
                log.exception("run %s is overdue and cannot be moved on", run_id)
                self._postpone(run_id)
            away = False

    def _postpone(self, run_id: str) -> None:
        """Skip the run for a pause that doubles each time."""
        known = self._stuck.get(run_id)
        pause = min(2 * known.pause if known else self._interval, STUCK_SECONDS)
        self._stuck[run_id] = _Stuck(pause, monotonic() + pause)

    async def _mark_waiting_runs(self) -> None:
        """Mark runs that only other processes can run and that none has claimed."""
        before = await self._store.now() - int(UNCLAIMED_SECONDS * 1000)
        waiting = await self._store.find_unclaimed_runs(self._serves, before, SWEPT_AT_ONCE)
        self._marked.intersection_update(waiting)
        for run_id in [each for each in waiting if each not in self._marked]:
            with suppress(errors.NotFound):
                await self._mark_if_waiting(run_id)
            self._marked.add(run_id)

    async def _mark_if_waiting(self, run_id: str) -> None:
        lease = await self._store.run_lease(run_id)
        if self._serves(lease.destination):
            return
        await self._store.change(
            ReadSet(owner=None, run_id=run_id, what="wait"),
            lambda records: report_waiting(records, self._mint),
        )
        self._bus.notify(run_id)

    async def _expire_run(self, run_id: str) -> None:
        moved = False  # a change in parts is checked once: each part changes the lease

        def overdue(records: Snapshot) -> ChangeSet | None:
            nonlocal moved
            if not moved and self._may_be_held(records):
                return None
            moved = True
            return transitions.handle_timeout(records, self._mint)

        await commit_in_parts(
            self._store,
            self._bus,
            ReadSet(owner=None, run_id=run_id, turn_log=True, what="expire"),
            overdue,
        )
        hit("sweep.after_commit")
        self._bus.notify(run_id)
        self._bus.notify(QUEUE)

    def _may_be_held(self, records: Snapshot) -> bool:
        """Return whether a healthy worker may hold the run, whatever the store's clock says."""
        run, lease = records.run, records.lease
        if self._watch is None or run is None or lease is None or lease.due_at is None:
            return False
        in_hands = run.status is Status.IN_PROGRESS
        return in_hands and not self._watch.is_lost(run.id, lease.epoch, lease.due_at)

    async def _release_lost_runs(self) -> None:
        """Release the runs that no process runs, without waiting for their leases to end.

        These are the runs of dead workers, and those whose claim was committed although the store
        reported a failure. Of our own runs only such are released as are seen twice: a claim may
        have been committed just now.
        """
        leased = await self._store.leases(SWEPT_AT_ONCE)
        others = {each.worker for each in leased} - {self._name}
        dead = {worker for worker in others if self._is_dead(worker)}
        unknown = {
            (each.run_id, each.epoch)
            for each in leased
            if each.worker == self._name and not self._is_running(each.run_id)
        }
        for each in leased:
            if each.worker in dead or (each.run_id, each.epoch) in unknown & self._unknown:
                await self.release_run(each.run_id, each.epoch)
        self._unknown = unknown

    async def release_run(self, run_id: str, epoch: int) -> None:
        """Release the run if its lease still has this epoch: any worker may claim it then."""
        try:
            await commit_in_parts(
                self._store,
                self._bus,
                ReadSet(owner=None, run_id=run_id, turn_log=True, what="release"),
                lambda records: transitions.release(records, epoch, self._mint),
            )
        except (errors.NotFound, errors.TryAgain) as fault:
            log.warning("run %s could not be given back: %s", run_id, fault.message)
            return
        self._bus.notify(run_id)
        self._bus.notify(QUEUE)
