"""The runtime of one process: opens its adapters and services, and closes them in order."""

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

from antiphon.buses.local import LocalBus
from antiphon.buses.shared import SharedBus
from antiphon.documents.process import DocumentReader, find_tesseract
from antiphon.ports import LEASES, QUEUE, Store
from antiphon.providers.catalog import Catalog, ModelChoice
from antiphon.providers.model_info import ModelWindows, Prices
from antiphon.runtime import liveness, wiring
from antiphon.runtime.admin.dispatch import AdminDispatcher
from antiphon.runtime.admin.export import OwnerExporter
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.admin.owners import OwnerDeleter, OwnerService
from antiphon.runtime.admin.provider_keys import ProviderKeyService
from antiphon.runtime.admin.webhook_secrets import SecretBox, WebhookSecretService
from antiphon.runtime.backend_servers import BackendServers, NoServers, create_servers
from antiphon.runtime.chat_importer import ChatImporter
from antiphon.runtime.destinations import Destinations
from antiphon.runtime.document_worker import DocumentWorker
from antiphon.runtime.housekeeper import Housekeeper
from antiphon.runtime.liveness import LeaseWatch
from antiphon.runtime.scheduler import Scheduler
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.runtime.services.models import ModelService
from antiphon.runtime.services.voice import VoiceService
from antiphon.runtime.titles import TitleWriter
from antiphon.runtime.turn_runner import Cost, TurnRunner
from antiphon.runtime.webhooks.deliverer import WebhookDeliverer
from antiphon.runtime.webhooks.sender import WebhookSender, webhook_policy
from antiphon.runtime.webhooks.service import WebhookService
from antiphon.runtime.worker import Worker
from antiphon.settings.settings import SQLITE, Settings
from antiphon.telemetry import tracing
from antiphon.telemetry.metrics import (
    ACTIVE_RUNS,
    CONNECTIONS,
    MAX_CONCURRENT_RUNS,
    RECONNECTS,
    Metrics,
)
from antiphon.telemetry.resources import add_process_gauges
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.types import errors, ids
from antiphon.types.ids import Prefix

log = logging.getLogger(__name__)


class Runtime:
    """Everything that one process runs; created by `open_runtime`."""

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
        self.metrics = add_process_gauges(Metrics())
        if isinstance(bus, SharedBus):
            bus.on_reconnect = partial(self.metrics.add, RECONNECTS)
        servers = servers or NoServers()
        self.destinations = Destinations(catalog, servers, unmarked=unmarked)
        provider_keys = provider_keys or _create_provider_keys(settings, store)
        secrets = _create_webhook_secrets(settings, store)
        cost = Prices(catalog.find_offer, wiring.price_list).cost
        self.worker = self._create_worker(servers, elapsed, cost)
        self.voice = VoiceService(store, catalog, settings, cost)
        self.webhooks = self._create_deliverer(secrets) if settings.webhooks else None
        self.dispatcher = self._create_dispatcher(
            servers,
            _create_owner_service(settings, store, bus, catalog, provider_keys, secrets),
            secrets,
        )
        self.housekeeper = Housekeeper(store, bus, settings, mint)
        self.scheduler = self._create_scheduler() if settings.schedules else None
        self.documents = self._create_document_worker() if settings.documents else None
        importer = OwnerImporter(store, mint, max_schedules=settings.max_schedules)
        self.chat_importer = ChatImporter(
            store,
            bus,
            importer,
            name=liveness.process_name(uuid4().hex[:8]),
            max_upload=settings.max_chat_import,
        )
        self.metrics.gauge(ACTIVE_RUNS, lambda: self.worker.active_runs)
        self.metrics.gauge(MAX_CONCURRENT_RUNS, lambda: settings.max_concurrent_runs)

    async def choice(self) -> ModelChoice:
        """Return the model that is used where none is named, and why."""
        return await self.catalog.choose()

    @property
    def degraded(self) -> Sequence[str]:
        """Parts that are unavailable now, without which this process works but is slower."""
        down = isinstance(self.bus, SharedBus) and not self.bus.connected
        return ["wake-ups between processes"] if down else []

    async def ready(self) -> None:
        """Return if this process can work. Raises `Unavailable` with the reason."""
        if self.draining:
            raise errors.Unavailable("This process is shutting down.", retry_after=1)
        await self.store.check()

    def start_worker(self) -> None:
        """Start all background work: runs, schedules, webhooks, documents, imports, expiry.

        Does nothing if that was started already.
        """
        self.worker.start()
        self.housekeeper.start()
        if self.webhooks is not None:
            self.webhooks.start()
        if self.scheduler is not None:
            self.scheduler.start()
        self.start_documents()
        self.chat_importer.start()

    def start_documents(self) -> None:
        """Start to read documents, without runs. Does nothing if that was started already."""
        if self.documents is not None:
            self.documents.start()

    async def drain(self, grace: float) -> None:
        """Claim no more runs; wait `grace` seconds for those in progress, release the rest.

        The same holds for deliveries to webhooks. No schedule is started any more.
        """
        self.draining = True
        if self.scheduler is not None:
            await self.scheduler.stop()
        if self.documents is not None:
            await self.documents.stop()
        await self.voice.close()
        await self.chat_importer.stop()
        stopping = [self.worker.stop(grace), self.housekeeper.stop()]
        if self.webhooks is not None:
            stopping.append(self.webhooks.stop(grace))
        await asyncio.gather(*stopping)

    def on_external_change(self, run_ids: Sequence[str]) -> None:
        """Notify readers and the worker of events that another process has written."""
        for run_id in run_ids:
            self.bus.notify(run_id)
        self.bus.notify(QUEUE)
        if any(self.worker.is_running(run_id) for run_id in run_ids):
            self.bus.notify(LEASES)

    def _create_worker(
        self, servers: BackendServers, elapsed: Callable[[], float] | None, cost: Cost
    ) -> Worker:
        """Create the worker and its turn runner."""
        store, bus, settings = self.store, self.bus, self.settings
        runner = TurnRunner(
            store, bus, self.catalog, settings, mint, servers, cost, self.metrics, self.tracer
        )
        titles = TitleWriter(store, self.catalog, settings, mint, cost, self.metrics, self.tracer)
        name = liveness.process_name(uuid4().hex[:8])
        serves = self.destinations.serves
        watch = LeaseWatch(elapsed, settings.lease_duration) if elapsed else None
        return Worker(
            store,
            bus,
            runner,
            settings,
            mint,
            name=name,
            dead=liveness.is_dead,
            metrics=self.metrics,
            serves=serves,
            watch=watch,
            titles=titles,
        )

    def _create_deliverer(self, secrets: SecretBox) -> WebhookDeliverer:
        settings = self.settings
        return WebhookDeliverer(
            self.store,
            self.bus,
            secrets,
            WebhookSender(webhook_policy(settings), settings.webhook_timeout),
            mint,
            timeout=settings.webhook_timeout,
            retention=settings.event_retention,
            metrics=self.metrics,
        )

    def _create_scheduler(self) -> Scheduler:
        return Scheduler(
            self.store,
            self.bus,
            self.dispatcher.occurrences,
            retention=self.settings.event_retention,
            metrics=self.metrics,
        )

    def _create_document_worker(self) -> DocumentWorker:
        reader = DocumentReader(self.settings.document_timeout, find_tesseract())
        return DocumentWorker(self.store, self.bus, reader, self.metrics)

    def _create_dispatcher(
        self, servers: BackendServers, owners: OwnerService, secrets: SecretBox
    ) -> Dispatcher:
        """Create the dispatcher and its services."""
        windows = ModelWindows(self.catalog.find_offer, wiring.window_list)
        webhooks = WebhookService(
            self.store,
            self.bus,
            mint,
            secrets,
            policy=webhook_policy(self.settings),
            limit=self.settings.max_webhooks if self.settings.webhooks else None,
        )
        return Dispatcher(
            self.store,
            self.bus,
            mint,
            ModelService(self.catalog, windows, self.settings),
            servers.check_allowed,
            AdminDispatcher(self.store, mint, servers.states, owners, self.settings.max_token_age),
            webhooks,
            self.destinations,
            self.voice,
            self.settings,
            self.worker,
            self.metrics,
            self.tracer,
        )


@asynccontextmanager
async def open_runtime(settings: Settings, *, start_worker: bool = True) -> AsyncGenerator[Runtime]:
    """Open a runtime with its worker running. Raises `BadSettings` or `Unavailable`.

    Without `start_worker` no run is claimed or expired before `Runtime.start_worker`.
    """
    if settings.secret_key is not None:
        wiring.create_cipher(settings)  # an unusable key is reported now, not at its first use
    async with AsyncExitStack() as stack:
        tracer = tracing.create_tracer(settings.telemetry, "antiphon", content=settings.log_content)
        if tracer is not NO_TRACES:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        local = LocalBus()

        def notify_runtime(run_ids: Sequence[str]) -> None:
            runtime.on_external_change(run_ids)  # called only after the runtime was created

        def has_readers() -> bool:
            return local.subscribers_of("run") > 0

        inner = await wiring.create_store(settings, notify_runtime, has_readers)
        store, bus = await wiring.open_shared(settings, inner, local, stack)
        provider_keys = _create_provider_keys(settings, store)
        catalog = Catalog(settings, os.environ, provider_keys.get, provider_keys.key_fingerprints)
        stack.push_async_callback(catalog.close)
        servers = await asyncio.to_thread(create_servers, settings)
        stack.push_async_callback(servers.close)
        unmarked = _has_equal_settings(settings, start_worker)
        # Processes on an SQLite file have a clock each; those on PostgreSQL use its clock.
        elapsed = time.monotonic if settings.database.startswith(SQLITE) else None
        runtime = Runtime(
            settings,
            store,
            bus,
            catalog,
            servers=servers,
            tracer=tracer,
            provider_keys=provider_keys,
            unmarked=unmarked,
            elapsed=elapsed,
        )
        if isinstance(inner, _Pool):
            for state in inner.connections():
                runtime.metrics.gauge(CONNECTIONS, partial(_count_connections, inner, state), state)
        if start_worker:
            runtime.start_worker()
        try:
            yield runtime
        finally:
            await runtime.drain(0 if runtime.draining else settings.shutdown_timeout)


def _has_equal_settings(settings: Settings, start_worker: bool) -> bool:
    """Return whether all processes on the database have this process's settings.

    A memory store has one process, and the servers on a PostgreSQL database have equal settings.
    Any program of its user may use an SQLite file, and a program without a worker any database.
    """
    return settings.database == "memory:" or (
        start_worker and not settings.database.startswith(SQLITE)
    )


@runtime_checkable
class _Pool(Protocol):
    """A store with a connection pool."""

    def connections(self) -> Mapping[str, int]:
        """Return the number of connections by state."""
        ...


def _count_connections(pool: _Pool, state: str) -> float:
    return pool.connections()[state]


@asynccontextmanager
async def open_store(settings: Settings, *, all_migrations: bool = False) -> AsyncGenerator[Store]:
    """Open the store alone, without a worker: for keys, maintenance, and queries.

    `all_migrations` also runs migrations that take long.
    """
    store = await wiring.create_store(settings, all_migrations=all_migrations)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_admin(settings: Settings) -> AsyncGenerator[OwnerService]:
    """Open the service for owners, without a worker."""
    async with AsyncExitStack() as stack:
        inner = await wiring.create_store(settings)
        store, bus = await wiring.open_shared(settings, inner, LocalBus(), stack)
        catalog = await stack.enter_async_context(open_catalog(settings))
        provider_keys = _create_provider_keys(settings, store)
        secrets = _create_webhook_secrets(settings, store)
        yield _create_owner_service(settings, store, bus, catalog, provider_keys, secrets)


@asynccontextmanager
async def open_catalog(settings: Settings) -> AsyncGenerator[Catalog]:
    """Open the catalog alone: for queries about models and their keys."""
    catalog = Catalog(settings, os.environ)
    try:
        yield catalog
    finally:
        await catalog.close()


async def count_undecryptable_keys(settings: Settings, store: Store) -> int:
    """Return how many provider keys and webhooks' secrets the settings' secrets cannot decrypt.

    Raises `BadSettings` without a usable secret.
    """
    keys = await _create_provider_keys(settings, store).count_undecryptable()
    return keys + await _create_webhook_secrets(settings, store).count_undecryptable()


def mint(prefix: Prefix) -> str:
    """Return a new id. Only here do time and randomness enter."""
    return ids.make(prefix, time.time_ns() // 1_000_000, os.urandom(ids.RANDOM_BYTES))


def _create_owner_service(
    settings: Settings,
    store: Store,
    bus: LocalBus | SharedBus,
    catalog: Catalog,
    provider_keys: ProviderKeyService,
    secrets: WebhookSecretService,
) -> OwnerService:
    eraser, exporter = OwnerDeleter(store, bus, mint), OwnerExporter(store, mint)
    importer = OwnerImporter(store, mint, max_schedules=settings.max_schedules)
    return OwnerService(
        store, provider_keys, secrets, catalog.check_own, eraser, exporter, importer
    )


def _create_webhook_secrets(settings: Settings, store: Store) -> WebhookSecretService:
    return WebhookSecretService(store, mint, partial(wiring.create_cipher, settings))


def _create_provider_keys(settings: Settings, store: Store) -> ProviderKeyService:
    return ProviderKeyService(store, mint, partial(wiring.create_cipher, settings))
