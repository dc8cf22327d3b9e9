"""Opens the doors that the settings name, holds them, closes them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable
from uuid import uuid4

from antiphon import calls, errors, ids, processes
from antiphon.administration.desk import Administration
from antiphon.administration.erasing import Eraser
from antiphon.administration.exporting import Exporter
from antiphon.administration.owners import Owners
from antiphon.administration.provider_keys import ProviderKeys, Seal
from antiphon.buses.local import LocalBus
from antiphon.buses.shared import Carrier, SharedBus
from antiphon.desk import Desk
from antiphon.ids import Prefix
from antiphon.inventory import Inventory
from antiphon.ports import LEASES, QUEUE, Store
from antiphon.providers.catalog import Catalog, Choice
from antiphon.providers.prices import PriceList, Prices
from antiphon.providers.windows import ModelWindows, WindowList
from antiphon.runner import Runner, Servers
from antiphon.settings import MASK, TABLE, Settings
from antiphon.stores.cached.shared import SharedContexts
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.memory.store import MemoryStore
from antiphon.stores.sqlite.moving import SqliteInventory
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.stores.statements import Schema
from antiphon.telemetry import traces
from antiphon.telemetry.measures import CONNECTIONS, DRIVEN, PLACES, RECONNECTS
from antiphon.telemetry.metrics import Metrics
from antiphon.telemetry.resources import told_of
from antiphon.telemetry.traces import NO_TRACES, Tracer
from antiphon.tools.mcp.authorizing import authorizing
from antiphon.tools.reach import Reach, exempt
from antiphon.tools.servers import NoServers, ServerPool
from antiphon.worker import Worker

log = logging.getLogger(__name__)

WAKES_SECONDS = 3  # that are given to wake-ups to come through


class Runtime:
    """Everything that one process runs; made by `opened`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        bus: LocalBus | SharedBus,
        catalog: Catalog,
        servers: Servers | None = None,
        tracer: Tracer = NO_TRACES,
        provider_keys: ProviderKeys | None = None,
    ) -> None:
        self.settings = settings
        self.tracer = tracer
        self.store = store
        self.bus = bus
        self.catalog = catalog
        self.draining = False
        prices = Prices(catalog.offer, _price_list)
        self._windows = ModelWindows(catalog.offer, _window_list)
        servers = servers or NoServers()
        self.metrics = told_of(Metrics())
        if isinstance(bus, SharedBus):
            bus.on_return = partial(self.metrics.add, RECONNECTS)
        runner = Runner(
            store,
            bus,
            catalog,
            settings,
            mint,
            servers,
            prices.cost,
            metrics=self.metrics,
            tracer=tracer,
        )
        name = processes.name(uuid4().hex[:8])
        self.worker = Worker(
            store, bus, runner, settings, mint, name, processes.dead, metrics=self.metrics
        )
        self.metrics.gauge(DRIVEN, lambda: self.worker.driving)
        self.metrics.gauge(PLACES, lambda: settings.max_runs)
        self.desk = Desk(
            store,
            bus,
            mint,
            self._default_model,
            catalog.open,
            self._models,
            servers.refuse,
            Administration(
                store,
                mint,
                servers.states,
                _owners(store, bus, catalog, provider_keys or _provider_keys(settings, store)),
            ),
            self.metrics,
            busy_seconds=settings.busy_timeout,
        )

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

    async def drain(self, grace: float) -> None:
        """Take no more runs; let those under way end in `grace` seconds, give back the rest."""
        self.draining = True
        await self.worker.stop(grace)

    def foreign(self, run_ids: Sequence[str]) -> None:
        """Another process wrote events of these runs: wake whom it concerns."""
        for run_id in run_ids:
            self.bus.ring(run_id)
        self.bus.ring(QUEUE)
        if any(self.worker.drives(run_id) for run_id in run_ids):
            self.bus.ring(LEASES)

    async def _default_model(self) -> str:
        return (await self.choice()).model

    async def _models(self, model: str | None, owner: str) -> Sequence[calls.Model]:
        default = await self._default_model()
        named = await self._named(default) if model is None else [await self._one(model, owner)]
        windows = await self._windows.of([name for name, _ in named])
        return [
            calls.Model(name, who, default=name == default, context_tokens=self._told(window))
            for (name, who), window in zip(named, windows, strict=True)
        ]

    async def _named(self, default: str) -> Sequence[tuple[str, str]]:
        """All models with their providers, and the default among them."""
        named = await self.catalog.models()
        if any(name == default for name, _ in named):
            return named
        return [(default, default.partition(":")[0]), *named]

    async def _one(self, model: str, owner: str) -> tuple[str, str]:
        return model, (await self.catalog.open(model, owner)).name

    def _told(self, window: int | None) -> int | None:
        """How much a model is told that takes so much: what the settings allow, if that is less."""
        known = [tokens for tokens in (window, self.settings.context_tokens) if tokens]
        return min(known, default=None)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Runtime]:
    """A runtime with its worker running. Raises `BadSettings` or `Unavailable`."""
    if settings.secret_key is not None:
        _seal(settings)  # one that cannot be used is told now, and not to who needs it first
    async with AsyncExitStack() as stack:
        tracer = traces.tracer(settings.telemetry, "antiphon", content=settings.log_content)
        if tracer is not NO_TRACES:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        local = LocalBus()

        def foreign(run_ids: Sequence[str]) -> None:
            runtime.foreign(run_ids)  # there by then: nothing below waits before it is made

        def listening() -> bool:
            return local.watchers_of("run") > 0

        inner = await _store(settings, foreign, listening)
        store, bus = await _shared(settings, inner, local, stack)
        provider_keys = _provider_keys(settings, store)
        catalog = Catalog(settings, os.environ, provider_keys.of)
        stack.push_async_callback(catalog.close)
        servers = await asyncio.to_thread(_servers, settings)
        stack.push_async_callback(servers.close)
        runtime = Runtime(settings, store, bus, catalog, servers, tracer, provider_keys)
        if isinstance(inner, _Pooled):
            for state in inner.connections():
                runtime.metrics.gauge(CONNECTIONS, partial(_counted, inner, state), state)
        runtime.worker.start()
        try:
            yield runtime
        finally:
            await runtime.drain(0 if runtime.draining else settings.grace)


@runtime_checkable
class _Pooled(Protocol):
    """A store with connections to a server."""

    def connections(self) -> Mapping[str, int]:
        """How many there are, by state."""
        ...


def _counted(pooled: _Pooled, state: str) -> float:
    return pooled.connections()[state]


@asynccontextmanager
async def stored(settings: Settings, *, everything: bool = False) -> AsyncGenerator[Store]:
    """The store alone, which drives no run: for keys, upkeep, and questions about what is kept.

    With `everything` the database is brought to its form even by what takes long.
    """
    store = await _store(settings, everything=everything)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def governed(settings: Settings) -> AsyncGenerator[Owners]:
    """The owners of a database, whose runs other processes drive, or nobody."""
    async with AsyncExitStack() as stack:
        inner = await _store(settings)
        store, bus = await _shared(settings, inner, LocalBus(), stack)
        catalog = await stack.enter_async_context(cataloged(settings))
        yield _owners(store, bus, catalog, _provider_keys(settings, store))


async def schema(settings: Settings) -> Schema | None:
    """The form of the database, which is only read; None where there is none to read.

    Raises `BadSettings` for what is no database that we can use, and `Unavailable`.
    """
    scheme, _, rest = settings.database.partition(":")
    match scheme:
        case "sqlite":
            return await asyncio.to_thread(SqliteStore.schema, _path(rest))
        case "postgresql" | "postgres":
            return cast("Schema", await _postgres().schema(settings.database))
        case _:
            return None


@asynccontextmanager
async def laid_open(database: str, *, new: bool = False) -> AsyncGenerator[Inventory | None]:
    """All rows of a database, for who moves it; None where there is none.

    One that may be `new` is made, or brought to this version's form. Raises `BadSettings`.
    """
    inventory = await _inventory(database, new=new)
    try:
        yield inventory
    finally:
        if inventory is not None:
            await inventory.close()


async def _inventory(database: str, *, new: bool) -> Inventory | None:
    scheme, _, rest = database.partition(":")
    match scheme:
        case "sqlite":
            if not new and not (await asyncio.to_thread(SqliteStore.schema, _path(rest))).found:
                return None
            return await SqliteInventory.open(_path(rest), new=new)
        case "postgresql" | "postgres":
            if not new and not cast("Schema", await _postgres().schema(database)).found:
                return None
            name = "antiphon.stores.postgres.moving"
            inventory = _of_extra(name, "asyncpg", "postgres").PostgresInventory
            return cast("Inventory", await inventory.open(database, new=new))
        case _:
            raise errors.BadSettings(
                "This is no database that can be moved.",
                expected="sqlite:///path or postgresql://host/name",
                received=scheme + ":",
                hint="What memory: held is gone with its process.",
            )


async def wakes(settings: Settings) -> bool | None:
    """Whether wake-ups between processes come through just now; None where none are carried.

    Raises `BadSettings`.
    """
    redis = _redis(settings.redis, os.urandom(32)) if settings.redis else None
    bus = _bus(settings, LocalBus(), redis)
    if not isinstance(bus, SharedBus):
        return None
    with bus.watch("ourselves") as bell:
        for _ in range(WAKES_SECONDS):  # a bell that nobody could ring rings within one
            if bus.up or await bell.wait(1):
                break
    came = bus.up
    await bus.close()
    if redis is not None:
        await redis.contexts.close()
    return came


@asynccontextmanager
async def cataloged(settings: Settings) -> AsyncGenerator[Catalog]:
    """The catalog alone: for questions about models and their keys."""
    catalog = Catalog(settings, os.environ)
    try:
        yield catalog
    finally:
        await catalog.close()


async def unopened(settings: Settings, store: Store) -> int:
    """How many of the owners' keys at providers cannot be opened with the secrets of the settings.

    Raises `BadSettings` without a secret that can be used.
    """
    return await _provider_keys(settings, store).unopened()


def new_secret_key() -> str:
    """A new value for the setting `secret_key`. Raises `BadSettings` without the extra."""
    key: str = _of_extra("antiphon.administration.sealing", "cryptography", "secrets").new_key()
    return key


def mint(prefix: Prefix) -> str:
    """A new id: the clock and the dice are here, and nowhere further in."""
    return ids.make(prefix, time.time_ns() // 1_000_000, os.urandom(ids.RANDOM_BYTES))


async def _store(
    settings: Settings,
    foreign: Callable[[Sequence[str]], None] | None = None,
    listening: Callable[[], bool] = lambda: False,
    *,
    everything: bool = False,
) -> Store:
    scheme, _, rest = settings.database.partition(":")
    match scheme:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return await SqliteStore.open(_path(rest), on_foreign=foreign, listening=listening)
        case "postgresql" | "postgres":
            return cast(
                "Store",
                await _postgres().open(
                    settings.database,
                    connections=settings.database_connections,
                    everything=everything,
                ),
            )
        case _:
            raise errors.BadSettings(
                f"No store is known for {scheme}: databases.",
                expected="sqlite:///path, postgresql://host/name or memory:",
                received=scheme + ":",
                hint="Set --database or ANTIPHON_DATABASE.",
            )


def _postgres() -> Any:
    """The store's class. Raises `BadSettings` without the extra."""
    return _of_extra("antiphon.stores.postgres.store", "asyncpg", "postgres").PostgresStore


async def _shared(
    settings: Settings, inner: Store, local: LocalBus, stack: AsyncExitStack
) -> tuple[CachedStore, LocalBus | SharedBus]:
    """The store and the bus as all processes share them, closed with the stack."""
    stack.push_async_callback(inner.close)
    redis = _redis(settings.redis, await inner.secret()) if settings.redis else None
    if redis is not None:
        stack.push_async_callback(redis.contexts.close)
    bus = _bus(settings, local, redis)
    stack.push_async_callback(bus.close)
    return CachedStore(inner, redis.contexts if redis else None), bus


def _owners(
    store: Store, bus: LocalBus | SharedBus, catalog: Catalog, provider_keys: ProviderKeys
) -> Owners:
    eraser, exporter = Eraser(store, bus, mint), Exporter(store, mint)
    return Owners(store, provider_keys, catalog.check_own, eraser, exporter)


def _provider_keys(settings: Settings, store: Store) -> ProviderKeys:
    return ProviderKeys(store, mint, partial(_seal, settings))


def _seal(settings: Settings) -> Seal:
    return cast(
        "Seal",
        _of_extra("antiphon.administration.sealing", "cryptography", "secrets").seal(settings),
    )


class _Redis(NamedTuple):
    """What processes have from one."""

    contexts: SharedContexts
    carrier: Carrier


def _redis(address: str, secret: bytes) -> _Redis:
    """Named after the installation that has this secret; it is not asked for anything yet."""
    carriers = _of_extra("antiphon.buses.redis", "redis", "redis")
    shelves = _of_extra("antiphon.stores.cached.redis", "redis", "redis")
    name = blake2b(secret, digest_size=8, person=b"name in redis").hexdigest()
    try:
        carrier = carriers.RedisCarrier(address, f"antiphon:{name}")
        shelf = shelves.RedisShelf(address, name)
    except ValueError:  # which may tell of a part of the password
        raise errors.BadSettings(
            "The address of Redis cannot be understood.",
            expected=TABLE["redis"].wanted,
            received=MASK,
            hint="A password in it is percent-encoded: %2F for a slash, %40 for an at sign.",
        ) from None
    return _Redis(SharedContexts(shelf, secret), carrier)


def _bus(settings: Settings, local: LocalBus, redis: _Redis | None) -> LocalBus | SharedBus:
    """Redis carries wake-ups where there is one, else PostgreSQL where that is the database."""
    if redis is not None:
        return SharedBus(redis.carrier, local)
    if not settings.database.startswith(("postgresql:", "postgres:")):
        return local
    connections = _of_extra("antiphon.stores.postgres.connections", "asyncpg", "postgres")
    carriers = _of_extra("antiphon.buses.postgres", "asyncpg", "postgres")
    address, _ = connections.understood(settings.database)
    return SharedBus(carriers.PostgresCarrier(address), local)


def _of_extra(module: str, library: str, extra: str) -> Any:
    """A module that needs a library which is not always there. Raises `BadSettings`."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name != library:
            raise
        raise errors.BadSettings(
            f"{library} is not installed.", hint=f"pip install 'antiphon[{extra}]' brings it."
        ) from missing


def _servers(settings: Settings) -> NoServers | ServerPool:
    """The MCP servers that runs may name; files are read, and perhaps the system's keyring."""
    if settings.backend_mcp == "off":
        return NoServers()
    places = import_module("antiphon.tools.mcp.places")
    found = places.usable(places.find(settings, os.environ, Path.cwd()).servers, os.environ)
    for problem in found.problems:
        log.warning("the MCP server %s cannot be used: %s", problem.server, problem.why)
    configs = [config for config in found.configs if config.enabled and config.backend]
    return ServerPool(
        settings.backend_mcp,
        configs,
        Reach(exempt(settings.private_hosts)),
        auth=authorizing(settings, os.environ),
        unusable={problem.server: problem.why for problem in found.problems},
    )


class _Listing(Protocol):
    """The module that has the list."""

    cost: PriceList
    context_tokens: WindowList


def _price_list() -> PriceList | None:
    return listing.cost if (listing := _listing()) else None


def _window_list() -> WindowList | None:
    return listing.context_tokens if (listing := _listing()) else None


def _listing() -> _Listing | None:
    """The list of the extra `prices`; None where it is not installed."""
    try:
        return cast("_Listing", import_module("antiphon.providers.price_list"))
    except ModuleNotFoundError as missing:
        if missing.name != "genai_prices":
            raise
        return None


def _path(rest: str) -> Path:
    """The file in `sqlite:///relative` or `sqlite:////absolute`, as SQLAlchemy writes them."""
    return Path(rest.removeprefix("///")).expanduser()
