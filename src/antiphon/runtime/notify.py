"""Commits changes to the store and notifies the bus about them."""

from __future__ import annotations

from typing import Any

from antiphon.engine.snapshot import ChangeSet, Committed, Decide, ReadSet
from antiphon.ports import ACTIONS, LEASES, QUEUE, WEBHOOKS, BeforeCommit, Bus, RunStore
from antiphon.telemetry.metrics import TOOLS, Metrics
from antiphon.types.runs import Status


async def commit_in_parts(store: RunStore, bus: Bus, read_set: ReadSet, decide: Decide) -> Any:
    """Commit the change part by part; return the answer of the last part.

    Each part is a transaction of its own, so that other writers get their turn in between. An
    interrupted change is continued by deciding again. Webhooks are notified; all other subscribers
    are left to the caller.
    """
    while True:
        committed = await store.change(read_set, decide)
        if committed.change is not None:
            _notify_webhooks(bus, committed.change)
        if committed.change is None or not committed.change.more:
            return committed.answer


def _notify_webhooks(bus: Bus, written: ChangeSet) -> None:
    if any(update.webhook_events for update in written.run_updates):
        bus.notify(WEBHOOKS)


class ChangeCommitter:
    """Commits changes that other tasks or processes may wait for."""

    def __init__(self, store: RunStore, bus: Bus, metrics: Metrics) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics

    async def commit_and_notify(self, read_set: ReadSet, decide: Decide) -> Any:
        """Commit the change, notify its subscribers, and return its answer."""
        return (await self.commit(read_set, decide)).answer

    async def commit(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """Commit the change and notify its subscribers; `before_commit` is as in `RunStore.change`.

        A change in parts is committed completely, with other changes in between; the last one is
        returned.
        """
        while True:
            with self._metrics.measure_store(read_set.what):
                committed = await self._store.change(read_set, decide, before_commit)
            if committed.change is not None:
                self._notify(committed.change)
            if committed.change is None or not committed.change.more:
                return committed

    def _notify(self, written: ChangeSet) -> None:
        for action in written.actions:
            if action.runs_on == "client" and action.ended_at is not None:
                seconds = (action.ended_at - action.created_at) / 1000
                self._metrics.observe(TOOLS, seconds, "client", action.status)
            elif action.status == "pending" and action.claimed_until is None:
                self._bus.notify(ACTIONS)
        for update in written.run_updates:
            self._bus.notify(update.run.id)
            if update.lease.wanted and update.run.status is Status.QUEUED:
                self._bus.notify(QUEUE)
            if update.run.status.ended:
                self._bus.notify(LEASES)
        _notify_webhooks(self._bus, written)
