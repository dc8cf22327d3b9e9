"""A PostgreSQL server for tests, and new databases in it."""

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

OWNER = "postgres"  # user of the server when tests run as root, which PostgreSQL refuses
INITIAL = (
    *("--username", "antiphon", "--auth", "trust"),
    *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
)
FASTER = {
    "fsync": "off",  # a kill of the server loses nothing that was written
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
}


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None if none is installed."""
    on_path = shutil.which("initdb")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if installed:
        return installed[-1].parent
    return Path(on_path).resolve().parent if on_path else None


class Postgres:
    """A server in `folder`, which it creates; `address` is the URL of one of its databases.

    It has its default settings except `settings`, by default `FASTER`, which differ from the
    defaults only after a power cut.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        bin_folder = programs()
        assert bin_folder is not None, "PostgreSQL is not here (apt-get install postgresql)"
        self.port = find_port()
        self.folder = folder
        self._prepare(bin_folder)
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        options |= {"unix_socket_directories": str(folder)}
        options |= FASTER if settings is None else settings
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.service = Service(
            [bin_folder / "postgres", "-D", folder / "data", *flags],
            folder / "log",
            lambda: listens(self.port),
            OWNER,
        )

    def address(self, database: str = "postgres", port: int | None = None) -> str:
        """Return the database's URL; `port` is that of a proxy in front of it."""
        return f"postgresql://antiphon@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, or restart it after a kill."""
        # After a kill it first replays its log, and rejects connections meanwhile.
        self.service.start()

    def kill(self) -> None:
        """Kill the server and all its processes."""
        self.service.signal(signal.SIGSTOP)  # so that it starts no others meanwhile
        children = self._children()
        self.service.kill()
        for pid in children:
            _kill(pid)

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """Suspend the server and all its processes during the block."""
        pids = [self.service.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop the server in order: SIGINT disconnects all clients."""
        self.service.stop()

    def kill_backends(self) -> None:
        """Kill the process of each connection; the server then restarts itself."""
        for pid in self._children():
            if b"antiphon" in _command(pid):
                _kill(pid)

    async def create(self, template: str = "template1") -> str:
        """Create a database; return its address."""
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
                with suppress(asyncpg.CannotConnectNowError):  # it still starts
                    return await asyncpg.connect(self.address())
                await asyncio.sleep(0.02)

    def _children(self) -> list[int]:
        pid = self.service.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _prepare(self, bin_folder: Path) -> None:
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        archive_path = _archive_path(bin_folder)
        if archive_path.exists():
            # It is opened here: the other user may not be able to.
            with archive_path.open("rb") as archive:
                command = [*as_user(OWNER), "tar", "-xpf", "-", "-C", str(self.folder)]
                subprocess.run(command, check=True, stdin=archive, timeout=120, cwd="/")
        else:
            command = [*as_user(OWNER), bin_folder / "initdb", "-D", self.folder / "data", *INITIAL]
            subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/")
            self._save_archive(archive_path)

    def _save_archive(self, archive_path: Path) -> None:
        """Archive the new data directory; of several at the same time the last one wins."""
        archive_path.parent.mkdir(exist_ok=True)
        with NamedTemporaryFile(
            dir=archive_path.parent, prefix=f"{archive_path.name}-begun-", delete=False
        ) as file:
            command = ["tar", "-cf", "-", "-C", str(self.folder), "data"]
            subprocess.run(command, check=True, stdout=file, timeout=120)
        os.replace(file.name, archive_path)


@cache
def _archive_path(bin_folder: Path) -> Path:
    """Return the path of an archived data directory: unpacking it is faster than `initdb`."""
    version = subprocess.run([bin_folder / "initdb", "--version"], check=True, capture_output=True)
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
