"""Fixtures and hooks of all tests: markers, long time limits, services and third-party programs.

Hypothesis tries the same examples each time, without a deadline, so that tests fail neither by
chance nor on a busy machine. `make soak` searches for new examples, seven times as many.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from antiphon.runtime.admin.accounts import PasswordHasher
from antiphon.stores.cached import shared
from antiphon.stores.postgres.store import PostgresStore
from antiphon.tools import deadlines
from tests.support import programs
from tests.support.fork_server import CHEAP, share_certificates
from tests.support.ports import find_port
from tests.support.programs import Installed
from tests.support.services import postgres as postgresql
from tests.support.services import redis as redises
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis
from tests.support.stores import databases
from tests.support.tools.call_clock import CallClock

settings.register_profile("searching", settings.default, deadline=None)
settings.register_profile(
    "patient", deadline=None, derandomize=True, database=None, max_examples=15
)
settings.load_profile("patient")

CPU_SECONDS = 20
PATIENCE = 60.0
SERVICES = {"postgres", "redis", "databases", "chromium", "node", "npm_packages", "python_with"}
"""Fixtures that start or install programs."""
POSTGRES_KINDS = ("postgres", "cached_postgres")
"""Parameters of fixtures that ask for PostgreSQL when they are set up."""

# A shell makes background jobs ignore Ctrl+C, and all programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


PasswordHasher.cost = CHEAP
share_certificates()


def pytest_configure() -> None:
    """Let the examples of a test depend on that test alone.

    Otherwise Hypothesis also draws constants from the modules of Antiphon that are loaded.
    """
    if settings.get_current_profile_name() == "patient":
        assert not len(providers._local_constants)
        providers._get_local_constants = lambda: providers._local_constants


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need services."""
    for item in items:
        if _needs_services(item):
            item.add_marker(pytest.mark.processes)


def _needs_services(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    kinds = parameters.params.values() if parameters else ()
    return not SERVICES.isdisjoint(getattr(item, "fixturenames", ())) or any(
        isinstance(kind, str) and kind.startswith(POSTGRES_KINDS) for kind in kinds
    )


@pytest.fixture
def cpu_limit() -> Iterator[None]:
    """Fail a test that takes more than 20 seconds of processor time, however busy the machine.

    Work that grows faster than its input takes minutes instead of a second.
    """
    began = time.process_time()
    yield
    assert time.process_time() - began < CPU_SECONDS


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nothing listens, and that the system gives to no other socket."""
    return find_port()


@pytest.fixture
def patient_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shared contexts wait long for Redis, which a busy machine makes slow."""
    for limit in ("GET_SECONDS", "PUT_SECONDS", "DROP_SECONDS"):
        monkeypatch.setattr(shared, limit, PATIENCE)


@pytest.fixture
def patient_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores of this process wait long for PostgreSQL, which a busy machine makes slow."""
    patient = partial(PostgresStore.open, timeouts=databases.PATIENT)
    monkeypatch.setattr(PostgresStore, "open", patient)


@pytest.fixture
def call_clock(monkeypatch: pytest.MonkeyPatch) -> CallClock:
    """The clock of all deadlines of tool calls in this process."""
    clock = CallClock()
    monkeypatch.setattr(deadlines, "_now", clock)
    return clock


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, which comes with pyright."""
    return programs.NODE


@pytest.fixture(scope="session")
def npm_packages() -> Installed:
    """A function that returns the packages which a folder's `package-lock.json` pins."""
    return programs.install_npm_packages


@pytest.fixture(scope="session")
def python_with() -> Installed:
    """A function that returns a Python with what a file of hashed requirements pins."""
    return programs.install_python


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the tests of a worker share, each with a database of its own."""
    if postgresql.programs() is None:
        pytest.skip("NOT RUN, FOR POSTGRESQL IS NOT HERE (apt-get install postgresql)")
    with _open_folder() as folder:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a service of another user can read."""
    with _open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis server that the tests of a worker share."""
    if redises.program() is None:
        pytest.skip("NOT RUN, FOR REDIS IS NOT HERE (apt-get install redis-server)")
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Create a folder outside pytest's own, which pytest closes to other users at each start."""
    folder = Path(mkdtemp(prefix="antiphon-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
