"""A home, a folder and a database for runs of the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import fork_server

SECONDS = 300  # far above what any of these takes


class Place:
    """A home, a working folder and a database that nothing else uses.

    Forks of the program cannot import the packages `missing`.
    """

    def __init__(self, root: Path, missing: tuple[str, ...] = ()) -> None:
        self.root = root
        self._missing = missing
        base_environ = {
            name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ
        }
        self.environ = {
            **base_environ,
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_DATA_HOME": str(root / "data"),
            "ANTIPHON_MODEL": "demo",
            "ANTIPHON_DEMO_DELAY": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self.database = root / "data/antiphon/antiphon.db"

    def start(
        self,
        *arguments: str,
        environ: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        cold: bool = False,
        **streams: Any,
    ) -> subprocess.Popen[bytes]:
        """Start the program: with `cold` in a new Python process, else as a fork."""
        cold = cold or bool(prefix) or fork_server.needs_a_beginning(environ or ())
        program = (
            (sys.executable, "-m", "antiphon")
            if cold
            else fork_server.command(missing=self._missing)
        )
        return subprocess.Popen(
            [*prefix, *program, *arguments],
            cwd=self.root,
            env={**self.environ, **(environ or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": -1, "stderr": -1, **streams},
        )

    def run(
        self, *arguments: str, stdin: str | None = None, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        data = None if stdin is None else stdin.encode()
        if fork_server.needs_a_beginning(environ or ()):
            source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
            with self.start(*arguments, environ=environ, stdin=source) as process:
                out, err = process.communicate(data, timeout=SECONDS)
                code = process.wait()
        else:
            full_environ = {**self.environ, **(environ or {})}
            code, out, err = fork_server.run_fork(
                arguments, self.root, full_environ, data, self._missing
            )
        return subprocess.CompletedProcess(arguments, code, out.decode(), err.decode())

    def threads(self) -> list[dict[str, Any]]:
        """Return the exports of all threads, newest first."""
        threads = json.loads(self.run("threads", "list", "--json").stdout)
        return [json.loads(self.run("threads", "export", each["id"]).stdout) for each in threads]
