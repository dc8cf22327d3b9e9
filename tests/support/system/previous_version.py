"""The last released version of Antiphon, from its wheel, and programs that run it or this one.

`tests/system/versions/` holds the wheel. It runs with the dependencies of this version.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import fork_python, fork_server

[WHEEL] = (Path(__file__).parents[2] / "system/versions").glob("*.whl")
SECONDS = 60.0


class Version:
    """A version of Antiphon to run: the installed one, or the one in `folder`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for a program of this version: the demo model, and no settings of a user."""
        return {
            "PATH": os.environ["PATH"],
            "XDG_DATA_HOME": "/nonexistent",
            "XDG_CONFIG_HOME": "/nonexistent",
            "ANTIPHON_MODEL": "demo",
            "ANTIPHON_LOG_LEVEL": "warning",
            "PYTHONUNBUFFERED": "1",
            **({"PYTHONPATH": str(self._folder)} if self._folder else {}),
        }

    @asynccontextmanager
    async def serve(self, database: str) -> AsyncIterator[str]:
        """Run `antiphon serve` on a free port; yield its address."""
        command = (sys.executable, "-m", "antiphon") if self._folder else fork_server.command()
        process = await asyncio.create_subprocess_exec(
            *(*command, "serve", "--port", "0", "--database", database),
            env=dict(self.environ),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr
        try:
            async with asyncio.timeout(SECONDS):
                output = b""
                while not (line := await process.stderr.readline()).startswith(b"listening on "):
                    output += line
                    assert line, output.decode()
            rest = asyncio.create_task(process.stderr.read())
            yield line.decode().split()[-1]
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(SECONDS):
                await process.wait()
        assert b"Traceback" not in await rest, (await rest).decode()

    async def run(self, program: str, *arguments: str) -> str:
        """Run a Python program that must succeed; return what it printed."""
        python = _start_python if self._folder else fork_python.command
        process = await asyncio.create_subprocess_exec(
            *python("-c", program, *arguments),
            env=dict(self.environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode().strip()


def _start_python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def unpack(folder: Path) -> Version:
    """Unpack the wheel of the last released version, and check that programs import it."""
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder)
    version = Version(folder)
    program = (sys.executable, "-c", "import antiphon; print(antiphon.__file__)")
    process = subprocess.run(
        program, env=version.environ, check=True, capture_output=True, text=True
    )
    assert Path(process.stdout.strip()).is_relative_to(folder)
    return version
