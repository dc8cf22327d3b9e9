"""Everything that one process runs: holds what stands behind the doors, closes it in order."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, runtime_checkable
from uuid import uuid4

from antiphon.api import operations
from antiphon.buses.local import LocalBus
from antiphon.buses.shared import SharedBus
from antiphon.mcp.hosted import NoServers
from antiphon.ports import LEASES, QUEUE, Store
from antiphon.providers.catalog import Catalog, Choice
from antiphon.providers.model_info import ModelWindows, Prices
from antiphon.runtime import liveness, wiring
from antiphon.runtime.admin.deletion import OwnerDeleter
from antiphon.runtime.admin.dispatch import AdminDispatcher
from antiphon.runtime.admin.export import OwnerExporter
from antiphon.runtime.admin.owners import OwnerService
from antiphon.runtime.admin.provider_keys import ProviderKeyService
from antiphon.runtime.destinations import Destinations
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.runtime.turn_runner import BackendServers, TurnRunner
from antiphon.runtime.worker import Worker
from antiphon.settings.settings import SQLITE, Settings
from antiphon.telemetry import tracing
from antiphon.telemetry.metrics import CONNECTIONS, DRIVEN, PLACES, RECONNECTS, Metrics
from antiphon.telemetry.resources import add_process_gauges
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.types import errors, ids
from antiphon.types.ids import Prefix
from antiphon.types.terminal_safe import clean

log = logging.getLogger(__name__)


class Runtime:
    """Everything that one process runs; made by `open_runtime`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        bus: LocalBus | SharedBus,
        catalog: Catalog,
        servers: BackendServers | None = None,
        tracer: Tracer = NO_TRACES,
        provider_keys: ProviderKeyService | None = None,
        *,
        unmarked: bool = True,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.tracer = tracer
        self.store = store
        self.bus = bus
        self.catalog = catalog
        self.draining = False
        self._windows = ModelWindows(catalog.offer, wiring.window_list)
        self.metrics = add_process_gauges(Metrics())
        if isinstance(bus, SharedBus):
            bus.on_return = partial(self.metrics.add, RECONNECTS)
        servers = servers or NoServers()
        self.destinations = Destinations(catalog, servers, unmarked=unmarked)
        provider_keys = provider_keys or _provider_keys(settings, store)
        self.worker = self._create_worker(servers, elapsed)
        self.dispatcher = self._create_dispatcher(
            servers, _owners(store, bus, catalog, provider_keys)
        )
        self.metrics.gauge(DRIVEN, lambda: self.worker.active_runs)
        self.metrics.gauge(PLACES, lambda: settings.max_runs)

    async def choice(self) -> Choice:
        """The model that answers where none is named, and why."""
        return await self.catalog.choose()

    @property
    def degraded(self) -> Sequence[str]:
        """What fails just now without anything else failing: it is only slower."""
        down = isinstance(self.bus, SharedBus) and not self.bus.up
        return ["wake-ups between processes"] if down else []

    async def ready(self) -> None:
        """Return if work can be done. Raises `Unavailable` that names what does not answer."""
        if self.draining:
            raise errors.Unavailable("This process is shutting down.", retry_after=1)
        await self.store.check()

    def start_worker(self) -> None:
        """Claim runs and look after them from now on; that it does so already changes nothing."""
        self.worker.start()

    async def drain(self, grace: float) -> None:
        """Take no more runs; let those under way end in `grace` seconds, give back the rest."""
        self.draining = True
        await self.worker.stop(grace)

    def on_external_change(self, run_ids: Sequence[str]) -> None:
        """Another process wrote events of these runs: wake whom it concerns."""
        for run_id in run_ids:
            self.bus.notify(run_id)
        self.bus.notify(QUEUE)
        if any(self.worker.is_running(run_id) for run_id in run_ids):
            self.bus.notify(LEASES)

    def _create_worker(
        self, servers: BackendServers, elapsed: Callable[[], float] | None
    ) -> Worker:
        """The worker, and the runner that it gives runs to."""
        store, bus, settings = self.store, self.bus, self.settings
        cost = Prices(self.catalog.offer, wiring.price_list).cost
        runner = TurnRunner(
            store, bus, self.catalog, settings, mint, servers, cost, self.metrics, self.tracer
        )
        name = liveness.process_name(uuid4().hex[:8])
        serves = self.destinations.serves
        watch = LeaseWatch(elapsed, settings.lease) if elapsed else None
        return Worker(
            store, bus, runner, settings, mint, name, liveness.is_dead, self.metrics, serves, watch
        )

    def _create_dispatcher(self, servers: BackendServers, owners: OwnerService) -> Dispatcher:
        """The desk, and the administration behind it."""
        return Dispatcher(
            self.store,
            self.bus,
            mint,
            self._default_model,
            self.catalog.open,
            self._models,
            servers.check_allowed,
            AdminDispatcher(self.store, mint, servers.states, owners),
            self.destinations,
            self.metrics,
            busy_seconds=self.settings.busy_timeout,
        )

    async def _default_model(self) -> str:
        return (await self.choice()).model

    async def _models(self, model: str | None, owner: str) -> operations.ModelList:
        default = await self._default_model()
        if model is not None:
            named = [(model, (await self.catalog.open(model, owner)).name)]
            return operations.ModelList(await self._described(named, default), has_more=False)
        listings = await self.catalog.listings()
        named = [(each.prefix + name, each.provider) for each in listings for name in each.names]
        named.append(("demo", "demo"))
        if not any(name == default for name, _ in named):
            named.insert(0, (default, default.partition(":")[0]))
        problems = [
            operations.ProviderProblem(each.provider, each.error.code, clean(each.error.message))
            for each in listings
            if each.error
        ]
        return operations.ModelList(
            await self._described(named, default), has_more=False, problems=problems
        )

    async def _described(
        self, named: Sequence[tuple[str, str]], default: str
    ) -> Sequence[operations.Model]:
        """Models by their names and providers, with the default among them marked."""
        windows = await self._windows.of([name for name, _ in named])
        return [
            operations.Model(name, who, default=name == default, context_tokens=self._told(window))
            for (name, who), window in zip(named, windows, strict=True)
        ]

    def _told(self, window: int | None) -> int | None:
        """How much a model is told that takes so much: what the settings allow, if that is less."""
        known = [tokens for tokens in (window, self.settings.context_tokens) if tokens]
        return min(known, default=None)


@asynccontextmanager
async def open_runtime(settings: Settings, *, drives: bool = True) -> AsyncGenerator[Runtime]:
    """A runtime with its worker running. Raises `BadSettings` or `Unavailable`.

    Without `drives` it claims no run and looks after none before `Runtime.start_worker`.
    """
    if settings.secret_key is not None:
        wiring.create_cipher(
            settings
        )  # one that cannot be used is told now, and not to who needs it first
    async with AsyncExitStack() as stack:
        tracer = tracing.create_tracer(settings.telemetry, "antiphon", content=settings.log_content)
        if tracer is not NO_TRACES:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        local = LocalBus()

        def foreign(run_ids: Sequence[str]) -> None:
            runtime.on_external_change(
                run_ids
            )  # there by then: nothing below waits before it is made

        def listening() -> bool:
            return local.watchers_of("run") > 0

        inner = await wiring.create_store(settings, foreign, listening)
        store, bus = await wiring.open_shared(settings, inner, local, stack)
        provider_keys = _provider_keys(settings, store)
        catalog = Catalog(settings, os.environ, provider_keys.get, provider_keys.key_fingerprints)
        stack.push_async_callback(catalog.close)
        servers = await asyncio.to_thread(wiring.create_servers, settings)
        stack.push_async_callback(servers.close)
        unmarked = _alike(settings, drives)
        # The processes of a file have a clock each, those of a PostgreSQL have its.
        elapsed = time.monotonic if settings.database.startswith(SQLITE) else None
        runtime = Runtime(
            *(settings, store, bus, catalog, servers, tracer, provider_keys),
            unmarked=unmarked,
            elapsed=elapsed,
        )
        if isinstance(inner, _Pooled):
            for state in inner.connections():
                runtime.metrics.gauge(CONNECTIONS, partial(_counted, inner, state), state)
        if drives:
            runtime.start_worker()
        try:
            yield runtime
        finally:
            await runtime.drain(0 if runtime.draining else settings.grace)


def _alike(settings: Settings, drives: bool) -> bool:
    """Return whether the programs of the database all have the settings of this one.

    Those of a memory are this one, and a PostgreSQL has servers with equal settings. An SQLite file
    may be any program's of its user.
    """
    return settings.database == "memory:" or (drives and not settings.database.startswith(SQLITE))


@runtime_checkable
class _Pooled(Protocol):
    """A store with connections to a server."""

    def connections(self) -> Mapping[str, int]:
        """How many there are, by state."""
        ...


def _counted(pooled: _Pooled, state: str) -> float:
    return pooled.connections()[state]


@asynccontextmanager
async def open_store(settings: Settings, *, everything: bool = False) -> AsyncGenerator[Store]:
    """The store alone, which drives no run: for keys, upkeep, and questions about what is kept.

    With `everything` the database is brought to its form even by what takes long.
    """
    store = await wiring.create_store(settings, everything=everything)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_admin(settings: Settings) -> AsyncGenerator[OwnerService]:
    """The owners of a database, whose runs other processes drive, or nobody."""
    async with AsyncExitStack() as stack:
        inner = await wiring.create_store(settings)
        store, bus = await wiring.open_shared(settings, inner, LocalBus(), stack)
        catalog = await stack.enter_async_context(open_catalog(settings))
        yield _owners(store, bus, catalog, _provider_keys(settings, store))


@asynccontextmanager
async def open_catalog(settings: Settings) -> AsyncGenerator[Catalog]:
    """The catalog alone: for questions about models and their keys."""
    catalog = Catalog(settings, os.environ)
    try:
        yield catalog
    finally:
        await catalog.close()


async def count_undecryptable_keys(settings: Settings, store: Store) -> int:
    """How many of the owners' keys at providers cannot be opened with the secrets of the settings.

    Raises `BadSettings` without a secret that can be used.
    """
    return await _provider_keys(settings, store).count_undecryptable()


def mint(prefix: Prefix) -> str:
    """A new id: the clock and the dice are here, and nowhere further in."""
    return ids.make(prefix, time.time_ns() // 1_000_000, os.urandom(ids.RANDOM_BYTES))


def _owners(
    store: Store, bus: LocalBus | SharedBus, catalog: Catalog, provider_keys: ProviderKeyService
) -> OwnerService:
    eraser, exporter = OwnerDeleter(store, bus, mint), OwnerExporter(store, mint)
    return OwnerService(store, provider_keys, catalog.check_own, eraser, exporter)


def _provider_keys(settings: Settings, store: Store) -> ProviderKeyService:
    return ProviderKeyService(store, mint, partial(wiring.create_cipher, settings))
