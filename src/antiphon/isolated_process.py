"""Processes that read files of strangers: the server starts them, and they limit themselves.

Such a process gets a request as a line of JSON, and the bytes of a file after it if the request is
about them. It answers with lines of JSON, of which the last one is the result or the end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO, TypeVar

import msgspec

OPEN_FILES = 64

Line = TypeVar("Line")

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


class ProcessFailed(Exception):
    """The process wrote what is no line of its protocol, or ended before the last line."""


class ProcessTooSlow(Exception):
    """The process met its deadline, or its own limit of time."""


async def read_lines(
    program: Sequence[str],
    request: msgspec.Struct,
    kind: type[Line],
    *,
    seconds: int,
    line_bytes: int,
    environment: Mapping[str, str] | None = None,
    pieces: AsyncIterable[bytes] | None = None,
) -> AsyncGenerator[Line, None]:
    """Start a program, give it a request and the pieces of a file, and yield its lines as `kind`.

    It has `seconds`, no environment but this one, and a line of `line_bytes` at most. The caller
    closes this generator at the last line, which kills the process and its children. An output
    that ends before raises the fault of `pieces`, or `ProcessTooSlow` or `ProcessFailed`.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    async with _start(program, environment or {}, line_bytes) as process:
        if process.stdout is None:
            raise ProcessFailed("The process has no output.")
        feeding = asyncio.create_task(_feed(process, request, pieces))
        try:
            try:
                while True:
                    async with asyncio.timeout_at(deadline):
                        text = await process.stdout.readline()
                    if not text:
                        break
                    yield msgspec.json.decode(text, type=kind)
                    await asyncio.sleep(0)  # `readline` does not wait while its buffer has a line
            except TimeoutError:
                raise ProcessTooSlow(f"The process takes longer than {seconds} seconds.") from None
            except (ValueError, msgspec.MsgspecError) as fault:  # ValueError: too long a line
                raise ProcessFailed("The process wrote no line of the protocol.") from fault
            if feeding.done() and not feeding.cancelled() and (lost := feeding.exception()):
                raise lost
            code = None
            with suppress(TimeoutError):  # it goes on without an output
                async with asyncio.timeout_at(deadline):
                    code = await process.wait()
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
    if code is None or (sys.platform != "win32" and code in (-signal.SIGXCPU, -signal.SIGALRM)):
        raise ProcessTooSlow(f"The process took longer than {seconds} seconds.")
    raise ProcessFailed(f"The process ended with {code}, and without a result.")


@asynccontextmanager
async def _start(
    program: Sequence[str], environment: Mapping[str, str], line_bytes: int
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Start a program in an empty folder; kill it with its children at the end.

    The folder is deleted at once, so that nothing can be written into it, and nothing of it stays
    if this process is killed. The program gets this environment and no other. A line of its output
    has `line_bytes` at most.
    """
    # Not in a thread: a cancel meanwhile would leave the folder.
    folder = tempfile.mkdtemp(prefix="antiphon-process-")
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
            with suppress(OSError):  # Windows keeps the folder of a process
                os.rmdir(folder)
            yield process
        finally:
            if sys.platform != "win32":
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                process.kill()
            # Pipes that are full, or that a child outside the group holds, would keep `wait`.
            process._transport.close()  # type: ignore[attr-defined]
            await process.wait()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _feed(
    process: asyncio.subprocess.Process,
    request: msgspec.Struct,
    pieces: AsyncIterable[bytes] | None,
) -> None:
    stdin = process.stdin
    if stdin is None:
        return
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # its output says why
            stdin.write(msgspec.json.encode(request) + b"\n")
            await stdin.drain()
            if pieces is not None:
                async for piece in pieces:
                    stdin.write(piece)
                    await stdin.drain()
    except Exception:  # the file is gone: what came of it must not be read as the whole
        with suppress(ProcessLookupError):
            process.kill()
        raise
    stdin.close()
