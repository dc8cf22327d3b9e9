"""A Redis server for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.ports import find_port
from tests.support.services.processes import Service, listens


def program() -> str | None:
    """Return the path of `redis-server`; None if it is not installed."""
    return shutil.which("redis-server")


class Redis:
    """A server in `folder`, which it creates. It stores nothing on disk."""

    def __init__(self, folder: Path) -> None:
        path = program()
        assert path is not None, "Redis is not here (apt-get install redis-server)"
        folder.mkdir(parents=True, exist_ok=True)
        self.port = find_port()
        command = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.service = Service(
            [*command, "--appendonly", "no", "--dir", str(folder)],
            folder / "log",
            lambda: listens(self.port),
        )

    @property
    def address(self) -> str:
        """URL of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server, or restart it without data."""
        self.service.start()

    def kill(self) -> None:
        """Kill the server."""
        self.service.kill()

    def stop(self) -> None:
        """Stop the server in order."""
        self.service.stop()
