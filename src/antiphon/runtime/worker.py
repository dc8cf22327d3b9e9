"""Claims queued runs under a lease, runs them, and expires what has run out of time.

Every process has one worker. The store is the queue: notifications only make it fast. The loops are
independent: claim, renew leases, sweep, delete expired data; an error in one of them ends none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import NamedTuple

from antiphon.engine import transitions
from antiphon.engine.destinations import report_waiting
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, ReadSet, Snapshot
from antiphon.engine.transitions import Claimant
from antiphon.ports import LEASES, QUEUE, Bus, RunStore, Subscription
from antiphon.runtime.destinations import WrongDestination
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.notify import CommitClaim, commit_in_parts
from antiphon.runtime.titles import TitleWriter
from antiphon.runtime.turn_runner import TurnRunner
from antiphon.settings.settings import Settings
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import QUEUED, TAKEOVERS, Metrics
from antiphon.types import errors
from antiphon.types.ids import Mint
from antiphon.types.messages import Upload
from antiphon.types.runs import Run, Serves, Status, Thread, serve_all

log = logging.getLogger(__name__)

FORGET_SECONDS = 600.0
TEMPORARY_AT_ONCE = 100  # threads in one page
INDEX_SECONDS = 5.0  # between looks for text that is not in the index
INDEX_PAUSE_SECONDS = 0.05  # between batches of it
CLAIM_PATIENCE = 1.0  # seconds between claims without a notification
LEASES_PATIENCE = 60.0  # the heartbeat checks the leases more often than this
STOP_PATIENCE = 6.0  # as long as a claim may wait for a busy database
PAUSE = 1.0  # seconds after a failure, so that an unavailable store is not overloaded
SWEPT_AT_ONCE = 1000
CLAIMS_AT_ONCE = 8  # while the queue is long; a store writes claims made at once together
OWN_RUNS = 100  # runs up to which a worker claims those that its own process begins at once
STUCK_SECONDS = 3600.0  # the longest pause of an overdue run that cannot be expired
UNCLAIMED_SECONDS = 10.0  # until a queued run is marked as waiting; a claim takes one at most
KEYS_KEPT = 2 * 86_400.0  # seconds an idempotency key is stored; 24 h are promised


class _Stuck(NamedTuple):
    """An overdue run that could not be expired: its pause and the pause's end, both in seconds."""

    pause: float
    until: float


class Worker:
    """Claims and runs the runs of one process; `name` is stored with its leases.

    `dead` returns whether the worker of a name is certainly dead; `serves` whether runs with a
    destination can be run from here: no others are claimed. With `watch`, a lease counts as lost
    only if the watch agrees. While fewer than `own_runs` are run here (by default `OWN_RUNS`), a
    run that begins here is claimed in the change that begins it. `titles` writes the titles of
    threads whose runs have ended here.
    """

    def __init__(
        self,
        store: RunStore,
        bus: Bus,
        runner: TurnRunner,
        settings: Settings,
        mint: Mint,
        name: str,
        dead: Callable[[str], bool] = lambda name: False,
        metrics: Metrics | None = None,
        serves: Serves = serve_all,
        watch: LeaseWatch | None = None,
        *,
        own_runs: int | None = None,
        titles: TitleWriter | None = None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._runner = runner
        self._settings = settings
        self._mint = mint
        self._name = name
        self._is_dead = dead
        self._metrics = metrics or Metrics()
        self._serves = serves
        self._watch = watch
        self._titles = titles
        self._own_runs = OWN_RUNS if own_runs is None else own_runs
        self._declined: list[str] = []  # runs that were claimed, but are for other programs
        self._marked: set[str] = set()  # runs that are marked as waiting
        self._claims_next = 1
        self._running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._stuck: dict[str, _Stuck] = {}
        self._beginning: set[asyncio.Task[Committed]] = set()  # changes that may claim their run
        self._unknown: set[tuple[str, int]] = set()  # leases of ours whose run we do not run
        self._room = asyncio.Event()
        self._room.set()
        self._loops: list[asyncio.Task[None]] = []
        self._claiming: asyncio.Task[None] | None = None
        self._started = self._stopping = False
        self._claimant = Claimant(name, int(settings.lease_duration * 1000))
        self._lease = transitions.claim(name, self._claimant.lease_ms)

    @property
    def active_runs(self) -> int:
        """The number of runs that this worker runs now."""
        return len(self._running)

    def is_running(self, run_id: str) -> bool:
        """Return whether this worker runs the run."""
        return run_id in self._running

    def start(self) -> None:
        """Start: sweep once at once, for runs of an earlier process, then claim.

        A second call does nothing, nor does a call after `stop`.
        """
        if self._started or self._stopping:
            return
        self._started = True
        self._claiming = asyncio.create_task(
            self._run_on_topic(QUEUE, self._claim_next, until=lambda: self._stopping),
            name="antiphon claim",
        )
        self._loops = [
            asyncio.create_task(
                self._run_on_topic(LEASES, self._check_when_notified), name="antiphon leases"
            ),
            asyncio.create_task(_run_forever(self._heartbeat), name="antiphon beat"),
            asyncio.create_task(_run_forever(self._sweep), name="antiphon sweep"),
            asyncio.create_task(_run_forever(self._delete_expired), name="antiphon forget"),
            asyncio.create_task(_run_forever(self._index_text), name="antiphon index"),
        ]

    async def stop(self, grace: float) -> None:
        """Claim no more, wait up to `grace` seconds for runs to finish, and release the rest."""
        await self._stop_claiming()
        if self._running:
            await asyncio.wait([task for _, task in self._running.values()], timeout=grace or 0.001)
        if self._titles is not None:
            await self._titles.close()
        left = list(self._running.values())
        await _cancel_and_wait([task for _, task in left])
        for claim, _ in left:
            hit("drain.before_release")
            await self._release_run(claim.run.id, claim.lease.epoch)
        await _cancel_and_wait(self._loops)
        self._loops = []

    async def _stop_claiming(self) -> None:
        """Wait for claims in progress: cancelled, their runs would wait for the lease to end."""
        self._stopping = True
        self._room.set()
        self._bus.notify(QUEUE)
        if self._claiming is not None:
            await asyncio.wait([self._claiming, *self._beginning], timeout=STOP_PATIENCE)
            await _cancel_and_wait([self._claiming])

    async def _run_on_topic(
        self,
        topic: str,
        work: Callable[[Subscription], Awaitable[float]],
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Repeat work that waits for notifications of the topic, as `_run_forever`."""
        with self._bus.subscribe(topic) as subscription:
            await _run_forever(partial(work, subscription), until)

    async def _claim_next(self, subscription: Subscription) -> float:
        """Claim one run, or as many at once as the last claims found, twice over."""
        await self._room.wait()
        claiming = [self._claim_one() for _ in range(min(self._claims_next, self._places_left))]
        found = await asyncio.gather(*claiming, return_exceptions=True)
        for failure in found:
            if isinstance(failure, BaseException):
                raise failure
        claimed = found.count(True)
        self._claims_next = min(max(1, 2 * claimed), CLAIMS_AT_ONCE)
        if not claimed and not self._stopping:
            await subscription.wait(CLAIM_PATIENCE)
        return 0

    async def _claim_one(self) -> bool:
        """Claim a run and start it; return whether there was one."""
        with self._metrics.measure_store("claim"):
            claim = await self._store.claim(self._lease, self._serves, self._declined)
        if claim is None:
            return False
        self._record_claim(claim.run)
        if claim.run.attempt > 1:
            hit("takeover.after_commit")
        self._hold_run(claim, self._start_run(claim))
        return True

    async def commit_and_start(self, owner: str, commit: CommitClaim) -> Committed:
        """Commit a change that may claim its run for this worker, and start the run.

        `commit` receives None where this worker has no place to spare: the run is then queued, for
        any process. A cancelled caller cancels neither commit nor run. The model may be asked while
        the commit waits for the disk.
        """
        if not self._has_place:
            return await commit(None, None)
        beginning = asyncio.create_task(self._commit_and_start(owner, commit))
        self._beginning.add(beginning)
        self._update_room()
        beginning.add_done_callback(self._on_begun)
        return await asyncio.shield(beginning)

    @property
    def _has_place(self) -> bool:
        """True while a run that begins here is claimed at once, and not left to all processes."""
        if not self._started or self._stopping:
            return False
        places = min(self._own_runs, self._settings.max_concurrent_runs)
        return len(self._running) + len(self._beginning) < places

    async def _commit_and_start(self, owner: str, commit: CommitClaim) -> Committed:
        started: asyncio.Task[None] | None = None

        def start_early(written: Committed) -> None:
            nonlocal started
            claim = _find_claim(owner, written)
            if claim is not None and _needs_only_context(claim):
                started = self._start_run(claim)

        try:
            committed = await commit(self._claimant, start_early)
        except BaseException:
            if started is not None:
                await _cancel_and_wait([started])
            raise
        claim = _find_claim(owner, committed)
        if claim is not None:
            self._record_claim(claim.run)
            self._hold_run(claim, started or self._start_run(claim))
        return committed

    def _on_begun(self, beginning: asyncio.Task[Committed]) -> None:
        self._beginning.discard(beginning)
        self._update_room()

    @property
    def _places_left(self) -> int:
        return self._settings.max_concurrent_runs - len(self._running) - len(self._beginning)

    def _update_room(self) -> None:
        """Allow reads of the queue while a run has a place."""
        if self._stopping or self._places_left > 0:
            self._room.set()
        else:
            self._room.clear()

    def _record_claim(self, run: Run) -> None:
        if run.attempt > 1:
            self._metrics.add(TAKEOVERS)
        elif run.turn == 1 and run.started_at is not None:
            self._metrics.observe(QUEUED, (run.started_at - run.created_at) / 1000)

    def _start_run(self, claim: Claim) -> asyncio.Task[None]:
        return asyncio.create_task(self._run_claimed(claim), name=f"run {claim.run.id}")

    def _hold_run(self, claim: Claim, task: asyncio.Task[None]) -> None:
        """Hold a started run, whose claim is committed."""
        self._running[claim.run.id] = (claim, task)
        task.add_done_callback(partial(self._on_run_done, claim.run.id))
        self._bus.notify(claim.run.id)
        self._update_room()

    async def _run_claimed(self, claim: Claim) -> None:
        try:
            run = await self._runner.run(claim)
            if run is not None and self._titles is not None:
                self._titles.start(claim, run)
        except WrongDestination as fault:
            log.warning("run %s: %s", claim.run.id, fault)
            await self._decline(claim)

    async def _decline(self, claim: Claim) -> None:
        """Release the run and never claim it again: this process's settings do not change."""
        run_id, epoch = claim.run.id, claim.lease.epoch
        self._declined.append(run_id)
        try:
            await self._store.change(
                ReadSet(owner=None, run_id=run_id, what="decline"),
                partial(transitions.decline, epoch=epoch),
            )
        except (errors.NotFound, errors.TryAgain) as fault:
            log.warning("run %s could not be released: %s", run_id, fault.message)
            return
        self._bus.notify(run_id)
        self._bus.notify(QUEUE)

    def _on_run_done(self, run_id: str, task: asyncio.Task[None]) -> None:
        running = self._running.get(run_id)
        if running is not None and running[1] is task:
            del self._running[run_id]
        self._update_room()

    async def _heartbeat(self) -> float:
        hit("lease.before_beat")
        await self._check_leases()
        # At least three in a lease, so that a healthy worker does not lose its runs.
        return min(self._settings.heartbeat_interval, self._settings.lease_duration / 3)

    async def _check_when_notified(self, subscription: Subscription) -> float:
        await subscription.wait(LEASES_PATIENCE)
        await self._check_leases()
        return 0

    async def _check_leases(self) -> None:
        """Renew our leases; cancel the runs whose lease is lost, which closes their connections."""
        epochs = {run_id: claim.lease.epoch for run_id, (claim, _) in self._running.items()}
        if not epochs:
            return
        with self._metrics.measure_store("beat"):
            lost = await self._store.renew_leases(epochs, int(self._settings.lease_duration * 1000))
        for run_id in lost:
            claim, task = self._running.get(run_id, (None, None))
            if claim is not None and task is not None and claim.lease.epoch == epochs[run_id]:
                task.cancel()

    async def sweep(self) -> None:
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
        await self._mark_waiting_runs()

    def _postpone(self, run_id: str) -> None:
        """Skip the run for a pause that doubles each time."""
        known = self._stuck.get(run_id)
        pause = min(2 * known.pause if known else self._settings.expiry_interval, STUCK_SECONDS)
        self._stuck[run_id] = _Stuck(pause, monotonic() + pause)

    async def _sweep(self) -> float:
        await self.sweep()
        await self._release_lost_runs()
        return self._settings.expiry_interval

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
            if each.worker == self._name and not self.is_running(each.run_id)
        }
        for each in leased:
            if each.worker in dead or (each.run_id, each.epoch) in unknown & self._unknown:
                await self._release_run(each.run_id, each.epoch)
        self._unknown = unknown

    async def _release_run(self, run_id: str, epoch: int) -> None:
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

    async def _delete_expired(self) -> float:
        now = await self._store.now()
        await self._store.delete_expired(
            now - int(self._settings.event_retention * 1000), now - int(KEYS_KEPT * 1000)
        )
        await self._delete_temporary_threads(now - int(self._settings.temporary_retention * 1000))
        await self._delete_expired_files(now)
        while await self._store.delete_expired_shares(TEMPORARY_AT_ONCE):
            pass
        return FORGET_SECONDS

    async def _delete_expired_files(self, now: int) -> None:
        while True:
            page = await self._store.list(Upload, None, limit=TEMPORARY_AT_ONCE, expires_before=now)
            for upload in page.data:
                with suppress(errors.NotFound):
                    await self._store.delete(Upload, None, upload.id)
            if not page.has_more:
                return

    async def _delete_temporary_threads(self, changed_before: int) -> None:
        """Delete temporary threads without a later change, and cancel their active runs first.

        A run that has ended counts in the usage of its owner, whose records stay.
        """
        after = None
        while True:
            page = await self._store.list(
                Thread,
                None,
                limit=TEMPORARY_AT_ONCE,
                after=after,
                temporary=True,
                created_before=changed_before,
            )
            for thread in page.data:
                if thread.updated_at < changed_before:
                    await self._delete_temporary_thread(thread)
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    async def _delete_temporary_thread(self, thread: Thread) -> None:
        with suppress(errors.NotFound):
            for run in (await self._store.list(Run, None, limit=1, thread_id=thread.id)).data:
                if not run.status.ended:
                    await commit_in_parts(
                        self._store,
                        self._bus,
                        ReadSet(owner=None, run_id=run.id, turn_log=True, what="cancel"),
                        lambda records: transitions.cancel(records, self._mint),
                    )
            await self._store.delete(Thread, None, thread.id)
            self._bus.notify(LEASES)

    async def _index_text(self) -> float:
        if not await self._store.index_text():
            return INDEX_SECONDS
        return INDEX_PAUSE_SECONDS


def _find_claim(owner: str, committed: Committed) -> Claim | None:
    """Return the claim that a change made of the run that it began.

    A change with `more` is followed by the change that begins the run: a run in it is one that the
    new run displaces.
    """
    change = committed.change
    for update in change.run_updates if change is not None and not change.more else ():
        if update.run.status is Status.IN_PROGRESS:
            return Claim(owner, update.run, update.lease, change)
    return None


def _needs_only_context(claim: Claim) -> bool:
    """Return whether a turn can ask the model without reads and writes beside its context."""
    run, lease = claim.run, claim.lease
    return not (run.turn > 1 or lease.fresh or run.mcp_servers or run.servers_to_list)


async def _run_forever(
    work: Callable[[], Awaitable[float]], until: Callable[[], bool] = lambda: False
) -> None:
    """Repeat the work, pausing for the seconds that it returns.

    No exception ends the loop: a worker whose loop has died would block every thread.
    """
    while not until():
        try:
            rest = await work()
        except errors.TryAgain as fault:
            log.warning("%s", fault.message)
            rest = PAUSE
        except Exception:
            log.exception("a worker's loop failed, and goes on")
            rest = PAUSE
        await asyncio.sleep(rest)


async def _cancel_and_wait(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
