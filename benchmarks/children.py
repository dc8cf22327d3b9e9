"""Processes that are measured from outside: started, watched through /proc, and stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE = 20.0  # seconds for a start or an end
_TICKS = os.sysconf("SC_CLK_TCK")
_ADDRESS = re.compile(rb"[Ll]istening (?:on|at:) (http://\S+)")


class Child:
    """A process that said where it listens."""

    def __init__(self, pid: int, address: str, ready_seconds: float) -> None:
        self.address = address
        self.ready_seconds = ready_seconds
        self._proc = Path(f"/proc/{pid}")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def cpu(self) -> float:
        """Seconds of processor time so far, its workers' too, in steps of 10 ms."""
        stats = ((each / "stat").read_text().rpartition(")")[2].split() for each in self._family())
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS

    def rss(self) -> float:
        """Resident megabytes, its workers' too."""
        pages = sum(int((each / "statm").read_text().split()[1]) for each in self._family())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Open files, sockets among them, its workers' too."""
        return sum(len(list((each / "fd").iterdir())) for each in self._family())

    def _family(self) -> Iterator[Path]:
        yield self._proc
        for thread in (self._proc / "task").iterdir():
            yield from (Path("/proc", pid) for pid in (thread / "children").read_text().split())


@asynccontextmanager
async def child(*command: str, patience: float = PATIENCE, **environ: str) -> AsyncIterator[Child]:
    """A process for as long as the block lasts; `environ` comes on top of ours.

    `patience` is how long its start may take, in seconds.
    """
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )
    assert process.stderr is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(patience):
            address = await address_said(process)
        ready_seconds = time.perf_counter() - began
        # What it still says may fill the pipe, and it would wait for us to read it.
        draining = asyncio.create_task(process.stderr.read())
        yield Child(process.pid, address, ready_seconds)
    except Exception as error:
        await _wait_for_end(process)
        if draining is not None and (said := await draining):
            error.add_note(f"{' '.join(command)} had said:\n{said.decode('utf-8', 'replace')}")
        raise
    finally:
        await _wait_for_end(process)
        if draining is not None:
            await draining


async def address_said(process: asyncio.subprocess.Process) -> str:
    """Where the process listens, once it has said so. Raises `RuntimeError` where it ends first."""
    assert process.stderr is not None
    said: list[bytes] = []
    while line := await process.stderr.readline():
        said.append(line)
        if found := _ADDRESS.search(line):
            return found[1].decode()
    raise RuntimeError(f"it ended before it listened:\n{b''.join(said).decode()}")


async def _wait_for_end(process: asyncio.subprocess.Process) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(sign)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            continue
