"""Programs that send spans to a collector: a backend, a web chat in front of it, a script."""

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
    question = "When does the next LAX-JFK flight leave?"
    for event in client.converse(question, tools=[get_flight_times]):
        print(event.type)
"""


class Program:
    """A running program; `said` are its lines on stderr, `address` is where it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[str] = []
        self.address = ""
        self._process = process

    async def until(self, words: str) -> str:
        """Wait for the next line with these words and return it."""
        assert self._process.stderr is not None
        async with asyncio.timeout(SECONDS):
            while line := (await self._process.stderr.readline()).decode():
                self.said.append(line.rstrip("\n"))
                if words in line:
                    return line
        raise AssertionError("\n".join(self.said))

    async def end(self) -> list[str]:
        """Stop the program in order; return all its lines on stderr."""
        assert self._process.stderr is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(SECONDS):
            rest = (await self._process.stderr.read()).decode()
            await self._process.wait()
        self.said += rest.splitlines()
        return self.said


def environ(folder: Path, **more: str) -> Mapping[str, str]:
    """Return the variables of a program that stores everything in this folder."""
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    variables = {"ANTIPHON_MODEL": "demo", "ANTIPHON_DEMO_DELAY": "0", **homes, **more}
    return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables}


@asynccontextmanager
async def serving(
    folder: Path, *arguments: str, environ: Mapping[str, str]
) -> AsyncGenerator[Program]:
    """Run `antiphon` with these arguments; yield it once it listens."""
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
    """Run a conversation with the SDK to its end; return the types of its events."""
    process = await asyncio.create_subprocess_exec(
        *fork_python.command("-c", SCRIPT, address, key),
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()
