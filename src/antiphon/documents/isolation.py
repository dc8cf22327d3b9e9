"""Processes that read files of strangers: the server starts them, and they limit themselves."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

OPEN_FILES = 64
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


# In the process.


def take_output() -> BinaryIO:
    """Return the standard output, which nothing else of the process can write to from now on."""
    output = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # what a library prints is no line of ours
    os.dup2(silent, 2)
    return output


def limit_process(seconds: int, memory: int, file_bytes: int = 0) -> None:
    """Limit time, memory and files of this process, and take the network from it if possible.

    `memory` is in bytes of addresses; `file_bytes` is the most that it may write into a file.
    """
    with suppress(AttributeError, OSError):
        # Root of a new user namespace has no power over this one.
        ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER | _NEW_NETWORK)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        for what, soft, hard in (
            (resource.RLIMIT_CPU, seconds, seconds + 5),
            (resource.RLIMIT_AS, memory, memory),
            (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
            (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            with suppress(ValueError, OSError):  # macOS has no such limit of addresses
                resource.setrlimit(what, (soft, hard))
        signal.alarm(seconds + 5)  # if the server is gone, and its deadline with it


# In the server.


@asynccontextmanager
async def start_process(
    program: Sequence[str], environment: Mapping[str, str], line_bytes: int
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Start a program in an empty folder; kill it with its children at the end.

    It gets this environment and no other. A line of its output has `line_bytes` at most.
    """
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="antiphon-process-")
    needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={**needed, "LANG": "C.UTF-8", **environment},
            limit=line_bytes,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _kill(process)
            with suppress(ProcessLookupError):
                process.kill()
            # Pipes that are full, or that a child outside the group holds, would keep `wait`.
            process._transport.close()  # type: ignore[attr-defined]
            await process.wait()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def was_too_slow(code: int) -> bool:
    """Return whether a process that ended with this code met its limit of time."""
    return sys.platform != "win32" and code in (-signal.SIGXCPU, -signal.SIGALRM)


def _kill(process: asyncio.subprocess.Process) -> None:
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
