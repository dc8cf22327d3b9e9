"""Claims queued runs under a lease, and runs them.

Every process has one worker. The store is the queue: notifications only make it fast. The loops are
independent: claim, renew leases, sweep; an error in one of them ends none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from antiphon.engine import transitions
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, Decide, ReadSet
from antiphon.engine.transitions import Claimant
from antiphon.ports import LEASES, QUEUE, Bus, RunStore
from antiphon.runtime.destinations import WrongDestination
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.loops import BackgroundLoops, cancel_and_wait, repeat
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.sweeper import Sweeper
from antiphon.runtime.titles import TitleWriter
from antiphon.runtime.turn_runner import TurnRunner
from antiphon.settings.settings import Settings
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import QUEUED, TAKEOVERS, Metrics
from antiphon.types import errors
from antiphon.types.ids import Mint
from antiphon.types.runs import Run, Serves, Status, serve_all

log = logging.getLogger(__name__)

CLAIM_PATIENCE = 1.0  # seconds between claims without a notification
LEASES_PATIENCE = 60.0  # the heartbeat checks the leases more often than this
STOP_PATIENCE = 6.0  # as long as a claim may wait for a busy database
CLAIMS_AT_ONCE = 8  # while the queue is long; a store writes claims made at once together
OWN_RUNS = 100  # a worker with fewer runs claims the runs that its own process begins at once


class Worker:
    """Claims and runs the runs of one process; `name` is stored with its leases.

    `dead` returns whether the worker of a name is certainly dead. `serves` returns whether runs
    with a destination can be run from here; no others are claimed. With `watch`, a lease counts as
    lost only if the watch agrees. While fewer than `own_runs` are run here (by default `OWN_RUNS`),
    a run that begins here is claimed in the change that begins it. `titles` writes the titles of
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
        self.sweeper = Sweeper(
            store,
            bus,
            mint,
            name,
            interval=settings.expiry_interval,
            is_running=self.is_running,
            dead=dead,
            serves=serves,
            watch=watch,
        )
        self._runner = runner
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._changes = ChangeCommitter(store, bus, self._metrics)
        self._serves = serves
        self._titles = titles
        self._own_runs = OWN_RUNS if own_runs is None else own_runs
        self._declined: list[str] = []  # runs that were claimed, but are for other programs
        self._claims_next = 1
        self._running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._beginning: set[asyncio.Task[Committed]] = set()  # changes that may claim their run
        self._slot_free = asyncio.Event()
        self._slot_free.set()
        self._loops = BackgroundLoops(bus)
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
        """Start to claim, to renew leases, and to sweep.

        The first sweep runs at once, and finds the runs of an earlier process. A second call does
        nothing, nor does a call after `stop`.
        """
        if self._started or self._stopping:
            return
        self._started = True
        claiming = repeat("claims", self._claim_next, self._bus, QUEUE, lambda: self._stopping)
        self._claiming = asyncio.create_task(claiming, name="antiphon claims")
        self._loops.start("leases", self._check_leases, topic=LEASES)
        self._loops.start("heartbeat", self._heartbeat)
        self._loops.start("sweep", self.sweeper.sweep)

    async def stop(self, grace: float) -> None:
        """Claim no more, wait up to `grace` seconds for runs to finish, and release the rest."""
        await self._stop_claiming()
        if self._running:
            await asyncio.wait([task for _, task in self._running.values()], timeout=grace or 0.001)
        if self._titles is not None:
            await self._titles.close()
        left = list(self._running.values())
        await cancel_and_wait([task for _, task in left])
        for claim, _ in left:
            hit("drain.before_release")
            await self.sweeper.release_run(claim.run.id, claim.lease.epoch)
        await self._loops.stop()

    async def _stop_claiming(self) -> None:
        """Stop claiming, and wait for claims in progress.

        The run of a cancelled claim would wait for its lease to end.
        """
        self._stopping = True
        self._slot_free.set()
        self._bus.notify(QUEUE)
        if self._claiming is not None:
            await asyncio.wait([self._claiming, *self._beginning], timeout=STOP_PATIENCE)
            await cancel_and_wait([self._claiming])

    async def _claim_next(self) -> float:
        """Claim runs; return the seconds until the next claim.

        Twice as many are claimed at once as were found last, and at least one.
        """
        await self._slot_free.wait()
        claiming = [self._claim_one() for _ in range(min(self._claims_next, self._free_slots))]
        found = await asyncio.gather(*claiming, return_exceptions=True)
        for failure in found:
            if isinstance(failure, BaseException):
                raise failure
        claimed = found.count(True)
        self._claims_next = min(max(1, 2 * claimed), CLAIMS_AT_ONCE)
        return 0 if claimed or self._stopping else CLAIM_PATIENCE

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

    async def commit_and_start(
        self, owner: str, read_set: ReadSet, decide: Callable[..., ChangeSet | None]
    ) -> Committed:
        """Commit a change that may begin a run; claim that run for this worker, and start it.

        `decide(records, claimant=...)` receives a claimant of None if this worker has no free slot
        for the run, which is then queued for any process. A cancelled caller cancels neither commit
        nor run. The model may be asked while the commit waits for the disk.
        """
        if not self._claims_own_runs:
            return await self._changes.commit(read_set, partial(decide, claimant=None))
        claiming = partial(decide, claimant=self._claimant)
        beginning = asyncio.create_task(self._commit_and_start(owner, read_set, claiming))
        self._beginning.add(beginning)
        self._update_slot_free()
        beginning.add_done_callback(self._on_begun)
        return await asyncio.shield(beginning)

    @property
    def _claims_own_runs(self) -> bool:
        """True while runs that begin here are claimed at once, not queued for all processes."""
        if not self._started or self._stopping:
            return False
        slots = min(self._own_runs, self._settings.max_concurrent_runs)
        return len(self._running) + len(self._beginning) < slots

    async def _commit_and_start(self, owner: str, read_set: ReadSet, decide: Decide) -> Committed:
        started: asyncio.Task[None] | None = None

        def start_early(written: Committed) -> None:
            nonlocal started
            claim = _find_claim(owner, written)
            if claim is not None and _needs_only_context(claim):
                started = self._start_run(claim)

        try:
            committed = await self._changes.commit(read_set, decide, start_early)
        except BaseException:
            if started is not None:
                await cancel_and_wait([started])
            raise
        claim = _find_claim(owner, committed)
        if claim is not None:
            self._record_claim(claim.run)
            self._hold_run(claim, started or self._start_run(claim))
        return committed

    def _on_begun(self, beginning: asyncio.Task[Committed]) -> None:
        self._beginning.discard(beginning)
        self._update_slot_free()

    @property
    def _free_slots(self) -> int:
        return self._settings.max_concurrent_runs - len(self._running) - len(self._beginning)

    def _update_slot_free(self) -> None:
        """Allow reads of the queue while a slot is free; a worker that stops must not wait."""
        if self._stopping or self._free_slots > 0:
            self._slot_free.set()
        else:
            self._slot_free.clear()

    def _record_claim(self, run: Run) -> None:
        if run.attempt > 1:
            self._metrics.add(TAKEOVERS)
        elif run.turn == 1 and run.started_at is not None:
            self._metrics.observe(QUEUED, (run.started_at - run.created_at) / 1000)

    def _start_run(self, claim: Claim) -> asyncio.Task[None]:
        return asyncio.create_task(self._run_claimed(claim), name=f"run {claim.run.id}")

    def _hold_run(self, claim: Claim, task: asyncio.Task[None]) -> None:
        """Record a started run, whose claim is committed, until its task ends."""
        self._running[claim.run.id] = (claim, task)
        task.add_done_callback(partial(self._on_run_done, claim.run.id))
        self._bus.notify(claim.run.id)
        self._update_slot_free()

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
        self._update_slot_free()

    async def _heartbeat(self) -> float:
        hit("lease.before_beat")
        await self._check_leases()
        # At least three in a lease, so that a healthy worker does not lose its runs.
        return min(self._settings.heartbeat_interval, self._settings.lease_duration / 3)

    async def _check_leases(self) -> float:
        """Renew our leases; cancel the runs whose lease is lost, which closes their connections."""
        epochs = {run_id: claim.lease.epoch for run_id, (claim, _) in self._running.items()}
        if not epochs:
            return LEASES_PATIENCE
        with self._metrics.measure_store("beat"):
            lost = await self._store.renew_leases(epochs, int(self._settings.lease_duration * 1000))
        for run_id in lost:
            claim, task = self._running.get(run_id, (None, None))
            if claim is not None and task is not None and claim.lease.epoch == epochs[run_id]:
                task.cancel()
        return LEASES_PATIENCE


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
