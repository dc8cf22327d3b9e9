"""Opens the adapters that the settings name.

Adapters that need a library of an extra are imported only when they are named.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from antiphon.buses.local import LocalBus
from antiphon.buses.shared import BusBackend, SharedBus
from antiphon.ports import Store
from antiphon.providers.model_info import PriceList, WindowList
from antiphon.runtime.admin.provider_keys import Cipher
from antiphon.settings.extras import install_hint
from antiphon.settings.settings import MASK, TABLE, Settings
from antiphon.stores.cached.shared import SharedContextCache
from antiphon.stores.cached.store import cache_store
from antiphon.stores.dump import Dump
from antiphon.stores.sqlite import backup
from antiphon.stores.sqlite.dump import SqliteDump
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.stores.statements import SchemaVersion
from antiphon.types import errors

log = logging.getLogger(__name__)

WAKES_SECONDS = 3  # to wait for a wake-up


async def create_store(
    settings: Settings,
    on_foreign: Callable[[Sequence[str]], None] | None = None,
    listening: Callable[[], bool] = lambda: False,
    *,
    all_migrations: bool = False,
) -> Store:
    """Open the store that the settings name.

    `on_foreign` is called with runs whose events another process has written; at once where
    `listening` returns that readers wait. Migrations that take long on a database in use run only
    with `all_migrations`. Raises `BadSettings` and `Unavailable`.
    """
    scheme, colon, rest = settings.database.partition(":")
    match scheme:
        case "memory":
            # Imported here: no other database needs the module.
            return cast("Store", import_module("antiphon.stores.memory.store").MemoryStore())
        case "sqlite":
            return await SqliteStore.open(
                _sqlite_path(rest),
                on_foreign=on_foreign,
                listening=listening,
                search_seconds=settings.search_timeout,
            )
        case "postgresql" | "postgres":
            return cast(
                "Store",
                await _postgres().open(
                    settings.database,
                    connections=settings.database_connections,
                    all_migrations=all_migrations,
                    search_seconds=settings.search_timeout,
                ),
            )
        case _:
            raise errors.BadSettings(
                "The setting database is no address of a database.",
                expected="sqlite:///path, postgresql://host/name or memory:",
                # The text after the colon may contain a password.
                received=f"{scheme}:..." if colon else scheme,
                hint="Set --database or ANTIPHON_DATABASE.",
            )


async def open_shared(
    settings: Settings, inner: Store, local: LocalBus, stack: AsyncExitStack
) -> tuple[Store, LocalBus | SharedBus]:
    """Return the store with its cache and the bus of all processes; the stack closes both."""
    stack.push_async_callback(inner.close)
    redis = (
        _create_redis(settings.redis, await inner.installation_secret()) if settings.redis else None
    )
    if redis is not None:
        stack.push_async_callback(redis.contexts.close)
    bus = _create_bus(settings, local, redis)
    stack.push_async_callback(bus.close)
    contexts = redis.contexts if redis else None
    return cache_store(inner, contexts, settings.context_cache), bus


def price_list() -> PriceList | None:
    """Return the price list of models; None where it is not installed."""
    return listing.cost if (listing := _import_prices()) else None


def window_list() -> WindowList | None:
    """Return the list of context windows; None where it is not installed."""
    return listing.context_tokens if (listing := _import_prices()) else None


def create_cipher(settings: Settings) -> Cipher:
    """Return the cipher for provider keys. Raises `BadSettings` without the extra or a key."""
    return cast(
        "Cipher",
        _import_extra("antiphon.runtime.admin.encryption", "cryptography", "secrets").create_cipher(
            settings
        ),
    )


def new_secret_key() -> str:
    """Return a new value for the setting `secret_key`. Raises `BadSettings` without the extra."""
    key: str = _import_extra(
        "antiphon.runtime.admin.encryption", "cryptography", "secrets"
    ).new_key()
    return key


async def read_schema(settings: Settings) -> SchemaVersion | None:
    """Read the database's schema version without changing it; None where there is no database.

    Raises `BadSettings` for a database that cannot be used, and `Unavailable`.
    """
    scheme, _, rest = settings.database.partition(":")
    match scheme:
        case "sqlite":
            return await asyncio.to_thread(SqliteStore.schema, _sqlite_path(rest))
        case "postgresql" | "postgres":
            return cast("SchemaVersion", await _postgres().schema(settings.database))
        case _:
            return None


@asynccontextmanager
async def open_dump(database: str, *, new: bool = False) -> AsyncGenerator[Dump | None]:
    """Open all rows of a database for a copy; None where there is no database.

    With `new` the database may be created, or migrated to this version. Raises `BadSettings`.
    """
    dump = await _open_dump(database, new=new)
    try:
        yield dump
    finally:
        if dump is not None:
            await dump.close()


def back_up(database: str, target: Path) -> backup.Copy:
    """Copy a SQLite database that may be in use to a new file, and check the copy; blocks.

    Raises `BadSettings`.
    """
    return backup.back_up(_sqlite_file(database), target)


def restore(source: Path, database: str) -> backup.Copy:
    """Restore a backup to a new SQLite database; blocks. Raises `BadSettings`."""
    return backup.restore(source, _sqlite_file(database))


async def check_wakeups(settings: Settings) -> bool | None:
    """Return whether notifications reach other processes now; None where no bus carries any.

    Raises `BadSettings`.
    """
    async with AsyncExitStack() as stack:
        redis = _create_redis(settings.redis, os.urandom(32)) if settings.redis else None
        if redis is not None:
            stack.push_async_callback(redis.contexts.close)
        bus = _create_bus(settings, LocalBus(), redis)
        stack.push_async_callback(bus.close)
        if not isinstance(bus, SharedBus):
            return None
        with bus.subscribe("ourselves") as subscription:
            for _ in range(WAKES_SECONDS):  # a wait while disconnected lasts a second at most
                if bus.connected or await subscription.wait(1):
                    break
        return bus.connected


async def _open_dump(database: str, *, new: bool) -> Dump | None:
    scheme, _, rest = database.partition(":")
    match scheme:
        case "sqlite":
            if (
                not new
                and not (await asyncio.to_thread(SqliteStore.schema, _sqlite_path(rest))).found
            ):
                return None
            return await SqliteDump.open(_sqlite_path(rest), new=new)
        case "postgresql" | "postgres":
            if not new and not cast("SchemaVersion", await _postgres().schema(database)).found:
                return None
            name = "antiphon.stores.postgres.dump"
            dump = _import_extra(name, "asyncpg", "postgres").PostgresDump
            return cast("Dump", await dump.open(database, new=new))
        case _:
            raise errors.BadSettings(
                "This is no database that can be moved.",
                expected="sqlite:///path or postgresql://host/name",
                received=scheme + ":",
                hint="What memory: held is gone with its process.",
            )


def _postgres() -> Any:
    """Return the PostgreSQL store's class. Raises `BadSettings` without the extra."""
    return _import_extra("antiphon.stores.postgres.store", "asyncpg", "postgres").PostgresStore


class _RedisAdapters(NamedTuple):
    """Adapters through which the processes of an installation share Redis."""

    contexts: SharedContextCache
    bus_backend: BusBackend


def _create_redis(address: str, secret: bytes) -> _RedisAdapters:
    """Return the adapters for Redis, under this installation's name; nothing is sent yet."""
    buses = _import_extra("antiphon.buses.redis", "redis", "redis")
    caches = _import_extra("antiphon.stores.cached.redis", "redis", "redis")
    name = blake2b(secret, digest_size=8, person=b"name in redis").hexdigest()
    try:
        bus_backend = buses.RedisBackend(address, f"antiphon:{name}")
        context_backend = caches.RedisContextBackend(address, name)
    except ValueError:  # its message may contain a part of the password
        raise errors.BadSettings(
            "The address of Redis cannot be understood.",
            expected=TABLE["redis"].wanted,
            received=MASK,
            hint="A password in it is percent-encoded: %2F for a slash, %40 for an at sign.",
        ) from None
    return _RedisAdapters(SharedContextCache(context_backend, secret), bus_backend)


def _create_bus(
    settings: Settings, local: LocalBus, redis: _RedisAdapters | None
) -> LocalBus | SharedBus:
    """Return the bus: over Redis where there is one, else over a PostgreSQL database."""
    if redis is not None:
        return SharedBus(redis.bus_backend, local)
    if not settings.database.startswith(("postgresql:", "postgres:")):
        return local
    connections = _import_extra("antiphon.stores.postgres.connections", "asyncpg", "postgres")
    buses = _import_extra("antiphon.buses.postgres", "asyncpg", "postgres")
    address, _ = connections.parse_address(settings.database)
    return SharedBus(buses.PostgresBackend(address), local)


class _PriceModule(Protocol):
    """The module that has the price list."""

    cost: PriceList
    context_tokens: WindowList


def _import_prices() -> _PriceModule | None:
    """Return the module of the extra `prices`; None where it is not installed."""
    try:
        return cast("_PriceModule", import_module("antiphon.providers.price_list"))
    except ModuleNotFoundError as missing:
        if missing.name != "genai_prices":
            raise
        return None


def _import_extra(module: str, library: str, extra: str) -> Any:
    """Import a module that needs an optional library. Raises `BadSettings` without it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != library:
            raise
        raise errors.BadSettings(
            f"{library} is not installed.", hint=install_hint(extra)
        ) from missing


def _sqlite_file(database: str) -> Path:
    """Return the file of a SQLite database. Raises `BadSettings` for another kind of database."""
    scheme, _, rest = database.partition(":")
    if scheme != "sqlite":
        raise errors.BadSettings(
            "Only the file of a SQLite database is copied like that.",
            expected="sqlite:///path",
            received=f"{scheme}:",
            hint="PostgreSQL has pg_dump and pg_restore.",
        )
    return _sqlite_path(rest)


def _sqlite_path(rest: str) -> Path:
    """Return the path in `sqlite:///relative` or `sqlite:////absolute`, as in SQLAlchemy."""
    return Path(rest.removeprefix("///")).expanduser()
