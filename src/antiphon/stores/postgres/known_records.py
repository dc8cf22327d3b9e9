"""Records that this process wrote last, so that the next change of a run needs no read.

A worker changes a run again and again, and nobody else does meanwhile. A change that is decided
from known records is written under the same condition as one that was decided from a read: that
they are still so in the database. Otherwise, and if the decision fails, it is decided from a read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.stores.invariants import Clock
from antiphon.stores.postgres.reads import ReadResult
from antiphon.stores.rows import RunRow
from antiphon.types.runs import Status

KNOWN_RUNS = 10_000
CLOCK_SECONDS = 10.0  # for so long a clock of this process does not drift by a millisecond


class _Anchor(NamedTuple):
    """A time of the database, and this process's own when it was received, in seconds."""

    now: int
    received: float


@dataclass(slots=True)
class _KnownRun:
    """The records of a run after its last change, and what has changed of its lease since."""

    read: ReadResult
    epoch: int
    last_event: int
    due_at: int | None


class KnownRecords:
    """The database's time, and the records of the runs in progress that this process changed.

    `clock` replaces the database's.
    """

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._anchor: _Anchor | None = None
        self._runs: OrderedDict[str, _KnownRun] = OrderedDict()

    @property
    def given_time(self) -> int | None:
        """The time of `clock`; None for the database's own."""
        return self._clock() if self._clock is not None else None

    def find(self, read_set: ReadSet) -> ReadResult | None:
        """Return what a read would most likely return; None if that cannot be known.

        The answer of an idempotency key is not known: the change of a second request with the key
        is refused by the database.
        """
        named = ReadSet(
            owner=read_set.owner,
            run_id=read_set.run_id,
            idempotency_key=read_set.idempotency_key,
            what=read_set.what,
        )
        now = self._estimate_now()
        if read_set != named or now is None:  # it reads more than is known here
            return None
        if read_set.run_id is None:
            return ReadResult(Snapshot(now=now))
        known = self._runs.get(read_set.run_id)
        if known is None or read_set.idempotency_key is not None:
            return None
        records, row = known.read.records, known.read.row
        if row is None or read_set.owner not in (None, known.read.owner):
            return None
        lease = replace(row.lease, last_event=known.last_event, due_at=known.due_at)
        return known.read._replace(
            records=replace(records, now=now, lease=lease), row=row._replace(lease=lease)
        )

    def observe_time(self, now: int) -> None:
        """Note the database's time, which was just received."""
        estimate = self._estimate_now()
        if estimate is None or now > estimate:
            self._anchor = _Anchor(now, monotonic())

    def _estimate_now(self) -> int | None:
        """Return the database's time; None if it was not received for long."""
        if self._clock is not None:
            return self._clock()
        if self._anchor is None:
            return None
        elapsed = monotonic() - self._anchor.received
        return None if elapsed > CLOCK_SECONDS else self._anchor.now + int(elapsed * 1000)

    def record(self, read: ReadResult, decided: ChangeSet, owner: str | None) -> None:
        """Store the records as a change has left them, if it leaves a run in progress."""
        for each in decided.run_updates:
            self._runs.pop(each.run.id, None)
        thread = decided.thread or read.records.thread
        update = decided.run_updates[-1] if decided.run_updates else None
        if update is None or update.run.status is not Status.IN_PROGRESS:
            return
        if thread is None or owner is None or decided.actions:
            return  # which of the actions a read returns is the database's matter
        row = read.row if read.row is not None and read.row.run.id == update.run.id else None
        before = read.records.thread
        changes = read.changes + 1 if before is not None and before.id == thread.id else 0
        waited = row.wanted_at if row is not None and row.lease.wanted else read.records.now
        actions = read.records.actions if row is not None else ()
        records = Snapshot(now=0, thread=thread, run=update.run, actions=actions)
        lease = update.lease
        self._runs[update.run.id] = _KnownRun(
            ReadResult(
                records,
                changes=changes,
                row=RunRow(owner, update.run, lease, waited),
                owner=owner,
            ),
            lease.epoch,
            lease.last_event,
            lease.due_at,
        )
        if len(self._runs) > KNOWN_RUNS:
            self._runs.popitem(last=False)

    def extend_log(self, run_id: str, epoch: int, last_event: int) -> None:
        """Note the number of the last event that this process has appended."""
        known = self._runs.get(run_id)
        if known is not None and known.epoch == epoch:
            known.last_event = last_event

    def renew_leases(self, epochs: Mapping[str, int], due_at: Mapping[str, int]) -> None:
        """Note the ends of the leases that this process has renewed."""
        for run_id, end in due_at.items():
            known = self._runs.get(run_id)
            if known is not None and known.epoch == epochs[run_id]:
                known.due_at = end

    def forget(self, run_id: str | None) -> None:
        """Drop what turned out to be out of date."""
        if run_id is not None:
            self._runs.pop(run_id, None)
