"""A Redis server of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.ports import find_port
from tests.support.services.processes import Service, listens


def program() -> str | None:
    """Redis's own program; None where it is not installed."""
    return shutil.which("redis-server")


class Redis:
    """A server in `folder`, which is made. It keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        found = program()
        assert found is not None, "Redis is not here (apt-get install redis-server)"
        folder.mkdir(parents=True, exist_ok=True)
        self.port = find_port()
        command = [found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
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
        """Start it, or start it again; it then holds nothing."""
        self.service.start()

    def kill(self) -> None:
        """SIGKILL."""
        self.service.kill()

    def stop(self) -> None:
        """End it in order."""
        self.service.stop()
