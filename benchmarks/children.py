"""Processes that are measured from outside: started, watched through /proc, and stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE = 20.0  # seconds for a start or an end
_TICKS = os.sysconf("SC_CLK_TCK")
_ADDRESS = re.compile(rb"listening on (http://\S+)")


class Child:
    """A process that said where it listens."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, ready: float) -> None:
        self.address = address
        self.ready_seconds = ready
        self._proc = Path(f"/proc/{process.pid}")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def cpu(self) -> float:
        """Seconds of processor time so far, of all its threads, in steps of 10 ms."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss(self) -> float:
        """Resident megabytes."""
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def child(command: Sequence[str], **environ: str) -> AsyncIterator[Child]:
    """A process of this Python for as long as the block lasts."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    said: list[bytes] = []
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _address(process, said, command)
        ready = time.perf_counter() - began
        # Its last words may fill the pipe, and it would wait for us to read them.
        reading = asyncio.create_task(_drain(process, said))
        yield Child(process, address, ready)
    finally:
        await _ended(process)
        if reading is not None:
            await reading


async def _address(
    process: asyncio.subprocess.Process, said: list[bytes], command: Sequence[str]
) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line)
        if found := _ADDRESS.search(line):
            return found[1].decode()
    raise RuntimeError(f"{' '.join(command)} ended:\n{b''.join(said).decode()}")


async def _drain(process: asyncio.subprocess.Process, said: list[bytes]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line)


async def _ended(process: asyncio.subprocess.Process) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(sign)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            continue
