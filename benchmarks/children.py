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
    """A running process, measured through /proc. Its numbers include its children."""

    def __init__(self, pid: int, address: str, ready_seconds: float) -> None:
        self.address = address
        self.ready_seconds = ready_seconds
        self._proc = Path(f"/proc/{pid}")

    @property
    def port(self) -> int:
        """Port of its address."""
        return int(self.address.rpartition(":")[2])

    def cpu(self) -> float:
        """Return the processor time so far in seconds, in steps of 10 ms."""
        stats = ((each / "stat").read_text().rpartition(")")[2].split() for each in self._family())
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS

    def rss(self) -> float:
        """Return the resident megabytes."""
        pages = sum(int((each / "statm").read_text().split()[1]) for each in self._family())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Return the number of open files and sockets."""
        return sum(len(list((each / "fd").iterdir())) for each in self._family())

    def _family(self) -> Iterator[Path]:
        yield self._proc
        for thread in (self._proc / "task").iterdir():
            yield from (Path("/proc", pid) for pid in (thread / "children").read_text().split())


@asynccontextmanager
async def child(*command: str, patience: float = PATIENCE, **environ: str) -> AsyncIterator[Child]:
    """Run a process for as long as the block lasts; `environ` extends our environment.

    `patience` is the time limit of its start, in seconds.
    """
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(patience):
            address = await read_address(process)
        ready_seconds = time.perf_counter() - began
        # Unread output would fill the pipe and block the process.
        drain = asyncio.create_task(process.stderr.read())
        yield Child(process.pid, address, ready_seconds)
    except Exception as error:
        await _terminate(process)
        if drain is not None and (output := await drain):
            error.add_note(f"{' '.join(command)} had said:\n{output.decode('utf-8', 'replace')}")
        raise
    finally:
        await _terminate(process)
        if drain is not None:
            await drain


async def read_address(process: asyncio.subprocess.Process) -> str:
    """Return the address that the process prints. Raises `RuntimeError` where it ends first."""
    assert process.stderr is not None
    lines: list[bytes] = []
    while line := await process.stderr.readline():
        lines.append(line)
        if match := _ADDRESS.search(line):
            return match[1].decode()
    raise RuntimeError(f"it ended before it listened:\n{b''.join(lines).decode()}")


async def _terminate(process: asyncio.subprocess.Process) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(signum)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            continue
