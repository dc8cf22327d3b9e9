"""Programs of ours whose spans go to a collector: a backend, a web chat in front, a script."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import fork_python, fork_server

SECONDS = 60
SCRIPT = """
import sys
from antiphon import Client

def get_flight_times(departure: str, arrival: str) -> str:
    "Times of flights."
    return "08:00"

with Client(sys.argv[1], api_key=sys.argv[2] or None) as client:
    asked = "When does the next LAX-JFK flight leave?"
    for event in client.converse(asked, tools=[get_flight_times]):
        print(event.type)
"""


class Program:
    """One that runs; `said` are its lines on stderr, `address` where it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[str] = []
        self.address = ""
        self._process = process

    async def until(self, words: str) -> str:
        """The next line with these words."""
        assert self._process.stderr is not None
        async with asyncio.timeout(SECONDS):
            while line := (await self._process.stderr.readline()).decode():
                self.said.append(line.rstrip("\n"))
                if words in line:
                    return line
        raise AssertionError("\n".join(self.said))

    async def end(self) -> list[str]:
        """End it in order; all that it said."""
        assert self._process.stderr is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(SECONDS):
            rest = (await self._process.stderr.read()).decode()
            await self._process.wait()
        self.said += rest.splitlines()
        return self.said


def environ(folder: Path, **more: str) -> Mapping[str, str]:
    """Of a program that knows this folder alone."""
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    own = {"ANTIPHON_MODEL": "demo", "ANTIPHON_DEMO_DELAY": "0", **homes, **more}
    return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **own}


@asynccontextmanager
async def serving(
    folder: Path, *arguments: str, environ: Mapping[str, str]
) -> AsyncGenerator[Program]:
    """`antiphon` with these arguments, once it listens."""
    cold = fork_server.needs_a_beginning(environ)
    command = (sys.executable, "-m", "antiphon") if cold else fork_server.command()
    process = await asyncio.create_subprocess_exec(
        *(*command, *arguments, "--port", "0"),
        cwd=folder,
        env=environ,
        stderr=asyncio.subprocess.PIPE,
    )
    program = Program(process)
    try:
        program.address = (await program.until("listening on ")).split()[-1]
        yield program
    finally:
        await program.end()


async def script(folder: Path, address: str, key: str = "", *, environ: Mapping[str, str]) -> str:
    """A conversation by the SDK, to its end; the types of its events."""
    process = await asyncio.create_subprocess_exec(
        *fork_python.command("-c", SCRIPT, address, key),
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        told, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return told.decode()
