"""A PostgreSQL server of one's own, and new databases in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import asyncpg

from tests.support.ports import find_port
from tests.support.programs import CACHE
from tests.support.services.processes import SECONDS, Service, as_user, listens

OWNER = "postgres"  # of the processes, where we are root: PostgreSQL refuses that
INITIAL = (
    *("--username", "antiphon", "--auth", "trust"),
    *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
)
FASTER = {
    "fsync": "off",  # a kill of the server loses nothing that the system was given
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs, the newest; None where it is not installed."""
    on_path = shutil.which("initdb")
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


class Postgres:
    """A server in `folder`, which is made; `address` names one of its databases.

    It is as it is shipped but for `settings`: with none given `FASTER`, which only a power cut
    would tell from the real thing.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        found = programs()
        assert found is not None, "PostgreSQL is not here (apt-get install postgresql)"
        self.port = find_port()
        self.folder = folder
        self._prepare(found)
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        options |= {"unix_socket_directories": str(folder)}
        options |= FASTER if settings is None else settings
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.service = Service(
            [found / "postgres", "-D", folder / "data", *given],
            folder / "log",
            lambda: listens(self.port),
            OWNER,
        )

    def address(self, database: str = "postgres", port: int | None = None) -> str:
        """Return the database's URL; `port` is that of a proxy in front of it."""
        return f"postgresql://antiphon@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, or start it again where it was killed."""
        # After a kill it first plays its log; until then it takes connections and refuses them.
        self.service.start()

    def kill(self) -> None:
        """SIGKILL to the server and every process of it."""
        self.service.signal(signal.SIGSTOP)  # so that it starts no others meanwhile
        children = self._children()
        self.service.kill()
        for pid in children:
            _kill(pid)

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """Meanwhile neither the server nor any process of it does anything."""
        pids = [self.service.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it in order: SIGINT disconnects everybody."""
        self.service.stop()

    def kill_backends(self) -> None:
        """SIGKILL to one process of each connection; the server then restarts itself."""
        for pid in self._children():
            if b"antiphon" in _command(pid):
                _kill(pid)

    async def create(self, template: str = "template1") -> str:
        """A new database; its address."""
        name = f"test_{secrets.token_hex(6)}"
        connection = await self._connect()
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await connection.close()
        return self.address(name)

    async def _connect(self) -> asyncpg.Connection:
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(asyncpg.CannotConnectNowError):  # it takes connections before it can
                    return await asyncpg.connect(self.address())
                await asyncio.sleep(0.02)

    def _children(self) -> list[int]:
        pid = self.service.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _prepare(self, found: Path) -> None:
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        made = _archive(found)
        if made.exists():
            with made.open("rb") as archive:  # which the other user may not be able to open
                command = [*as_user(OWNER), "tar", "-xpf", "-", "-C", str(self.folder)]
                subprocess.run(command, check=True, stdin=archive, timeout=120, cwd="/")
        else:
            command = [*as_user(OWNER), found / "initdb", "-D", self.folder / "data", *INITIAL]
            subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/")
            self._keep_as(made)

    def _keep_as(self, made: Path) -> None:
        """Pack the new data directory; of those that do so at once the last one counts."""
        made.parent.mkdir(exist_ok=True)
        with NamedTemporaryFile(
            dir=made.parent, prefix=f"{made.name}-begun-", delete=False
        ) as file:
            command = ["tar", "-cf", "-", "-C", str(self.folder), "data"]
            subprocess.run(command, check=True, stdout=file, timeout=120)
        os.replace(file.name, made)


@cache
def _archive(found: Path) -> Path:
    """Where a new data directory of this version is kept; `initdb` takes five times as long."""
    version = subprocess.run([found / "initdb", "--version"], check=True, capture_output=True)
    key = hashlib.sha256(version.stdout + " ".join(INITIAL).encode()).hexdigest()[:12]
    return CACHE / f"postgresql-{key}.tar"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    """Return the name of the process; empty if it has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
