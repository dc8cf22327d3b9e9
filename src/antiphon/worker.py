"""Claims queued runs under a lease, hands each to the runner, and looks after what time does.

Every process has one. The store is the queue: a wake-up only makes it quick. Three loops beside one
another: claim, beat, sweep; each survives a store that is away for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from antiphon import errors
from antiphon.engine import moves
from antiphon.failpoints import hit
from antiphon.ids import Mint
from antiphon.ports import About, Bus, Claim, Store
from antiphon.runner import Runner
from antiphon.settings import Settings

log = logging.getLogger(__name__)

FORGET_SECONDS = 600.0
CLAIM_PATIENCE = 1.0  # seconds until the queue is looked at though nobody rang
KEYS_KEPT = 2 * 86_400.0  # seconds an idempotency key is remembered; 24 h are promised

QUEUE = "queue"
"""The topic rung when a run was asked for."""
LEASES = "leases"
"""The topic rung when a driven run may have been taken from its worker, as by a cancel."""
OWN_BELLS = 2
"""How many bells a worker watches itself: those two."""


class Worker:
    """Drives the runs of one process; `name` is written beside its leases."""

    def __init__(
        self, store: Store, bus: Bus, runner: Runner, settings: Settings, mint: Mint, name: str
    ) -> None:
        self._store = store
        self._bus = bus
        self._runner = runner
        self._settings = settings
        self._mint = mint
        self._name = name
        self._driven: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._loops: list[asyncio.Task[None]] = []

    @property
    def driving(self) -> int:
        """How many runs it drives just now."""
        return len(self._driven)

    def drives(self, run_id: str) -> bool:
        """Whether this worker holds the run."""
        return run_id in self._driven

    def start(self) -> None:
        """Begin: sweep once at once, for what died with an earlier process, then claim."""
        self._loops = [
            asyncio.create_task(loop(), name=f"antiphon {name}")
            for name, loop in (
                ("claim", self._claim),
                ("beat", self._beat),
                ("watch leases", self._watch_leases),
                ("sweep", partial(_every, self._settings.sweep, self.sweep)),
                ("forget", partial(_every, FORGET_SECONDS, self._forget)),
            )
        ]

    async def stop(self, grace: float) -> None:
        """Claim no more, let runs finish for `grace` seconds, then give the rest back."""
        claiming, others = self._loops[:1], self._loops[1:]
        await _end(claiming)
        if self._driven:
            await asyncio.wait([task for _, task in self._driven.values()], timeout=grace or 0.001)
        left = list(self._driven.values())
        await _end([task for _, task in left])
        for claim, _ in left:
            await self._give_back(claim)
        await _end(others)
        self._loops = []

    async def _claim(self) -> None:
        lease = moves.claim(self._name, int(self._settings.lease * 1000))
        with self._bus.watch(QUEUE) as bell:
            while True:
                await self._room.wait()
                try:
                    claim = await self._store.claim(lease)
                except errors.TryAgain as fault:
                    log.warning("the queue cannot be read: %s", fault.message)
                    await asyncio.sleep(CLAIM_PATIENCE)
                    continue
                if claim is None:
                    await bell.wait(CLAIM_PATIENCE)
                    continue
                if claim.run.attempt > 1:
                    hit("takeover.after_commit")
                self._take(claim)

    def _take(self, claim: Claim) -> None:
        task = asyncio.create_task(self._runner.drive(claim), name=f"run {claim.run.id}")
        self._driven[claim.run.id] = (claim, task)
        task.add_done_callback(partial(self._let_go, claim.run.id))
        self._bus.ring(claim.run.id)
        if len(self._driven) >= self._settings.max_runs:
            self._room.clear()

    def _let_go(self, run_id: str, task: asyncio.Task[None]) -> None:
        held = self._driven.get(run_id)
        if held is not None and held[1] is task:
            del self._driven[run_id]
        self._room.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.beat)
            hit("lease.before_beat")
            await self._check_leases()

    async def _watch_leases(self) -> None:
        with self._bus.watch(LEASES) as bell:
            while True:
                if await bell.wait(60.0):
                    await self._check_leases()

    async def _check_leases(self) -> None:
        """Prolong what is still ours; stop what is not, which closes its connection upstream."""
        held = {run_id: claim.drive.epoch for run_id, (claim, _) in self._driven.items()}
        if not held:
            return
        try:
            lost = await self._store.beat(held, int(self._settings.lease * 1000))
        except errors.TryAgain as fault:
            log.warning("leases cannot be prolonged: %s", fault.message)
            return
        for run_id in lost:
            claim, task = self._driven.get(run_id, (None, None))
            if claim is not None and task is not None and claim.drive.epoch == held[run_id]:
                task.cancel()

    async def sweep(self) -> None:
        """Look at every run whose time has run out."""
        while due := await self._store.due(100):
            for run_id in due:
                await self._look_at(run_id)
            if len(due) < 100:
                return

    async def _look_at(self, run_id: str) -> None:
        try:
            await self._store.change(
                About(owner=None, run_id=run_id, turn_log=True, what="expire"),
                lambda records: moves.overdue(records, self._mint),
            )
        except errors.NotFound:
            return  # it was deleted in between
        hit("sweep.after_commit")
        self._bus.ring(run_id)
        self._bus.ring(QUEUE)

    async def _give_back(self, claim: Claim) -> None:
        hit("drain.before_release")
        try:
            await self._store.change(
                About(owner=None, run_id=claim.run.id, turn_log=True, what="give_back"),
                lambda records: moves.give_back(records, claim.drive.epoch, self._mint),
            )
        except (errors.NotFound, errors.TryAgain) as fault:
            log.warning("run %s could not be given back: %s", claim.run.id, fault.message)
            return
        self._bus.ring(claim.run.id)
        self._bus.ring(QUEUE)

    async def _forget(self) -> None:
        now = await self._store.now()
        await self._store.forget(
            now - int(self._settings.event_retention * 1000), now - int(KEYS_KEPT * 1000)
        )


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work now and again; a store that is away is told of, and tried again."""
    while True:
        try:
            await work()
        except errors.AntiphonError as fault:
            log.warning("%s", fault.message)
        await asyncio.sleep(seconds)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
