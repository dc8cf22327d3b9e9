"""Run a program of this machine to its end, and whatever it starts with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.types.messages import ToolResult

MAX_OUTPUT = 200_000
"""Bytes kept of each of stdout and stderr."""
VARIABLES = (
    *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"),
    *("APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT"),
    *("TEMP", "USERNAME", "USERPROFILE"),
)
"""Variables that scripts of skills and hooks get: none of them holds a secret."""
_END_SECONDS = 2.0
_WINDOWS = sys.platform == "win32"


class ProgramOutput(NamedTuple):
    """Output of a program that has ended, and its exit code; negative if a signal ended it.

    Each text ends with a note if more was written than is kept, which `is_cut` says of stdout.
    """

    code: int
    stdout: str
    stderr: str
    is_cut: bool = False


def find_program(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the absolute path of a program in PATH; None if it is not there.

    Relative and empty entries of PATH are left out, and so is the working folder where the system
    searches it first: the folder that is worked in may be anybody's.
    """
    places = environ.get("PATH", os.defpath).split(os.pathsep)
    absolute = os.pathsep.join(filter(os.path.isabs, places))
    found = shutil.which(name, path=absolute) if absolute else None
    return found if found and os.path.isabs(found) else None


def program_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a program that must not get secrets."""
    return {name: environ[name] for name in VARIABLES if name in environ}


async def run_program(
    command: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> ToolResult:
    """Run the command without input; return its output and exit code as the result of a tool."""
    try:
        ended = await communicate(command, folder, environ)
    except (OSError, ValueError) as error:
        return ToolResult(f"The program cannot be started: {error}", is_error=True, fault="failed")
    errors = f"[stderr]\n{ended.stderr}" if ended.stderr else ""
    parts = [ended.stdout, errors, f"[exit code {ended.code}]" if ended.code else ""]
    text = "\n".join(part for part in parts if part) or "[no output]"
    return ToolResult(text, is_error=bool(ended.code), fault="failed" if ended.code else None)


async def communicate(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], stdin: bytes | None = None
) -> ProgramOutput:
    """Run the command with this input, or none; return its output.

    Its processes end with it: those that it leaves behind, and all of them if it is cancelled.
    Raises `OSError` or `ValueError` for a program that cannot be started.
    """
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if _WINDOWS
        else {"start_new_session": True}  # a group of its own, so that it can be ended as a whole
    )
    start = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            _Program,
            *command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            cwd=folder,
            env=environ,
            **apart,
        )
    )
    try:
        transport, program = await asyncio.shield(start)
    except asyncio.CancelledError:  # a program that is half started could not be ended as a whole
        started = await asyncio.gather(start, return_exceptions=True)
        for transport, program in (each for each in started if isinstance(each, tuple)):
            await _end(transport, program)
        raise
    try:
        if stdin is not None:
            pipe: Any = transport.get_pipe_transport(0)
            pipe.write(stdin)  # what the program does not read is dropped at its end
            pipe.write_eof()
        await program.exited.wait()
        await program.wait_for_pipes()
    finally:
        await _end(transport, program)
    return ProgramOutput(
        transport.get_returncode() or 0, program.text(1), program.text(2), program.dropped[1] > 0
    )


class _Program(asyncio.SubprocessProtocol):
    """The program, and its output as far as it is kept."""

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self.output = {1: bytearray(), 2: bytearray()}
        self.dropped = {1: 0, 2: 0}
        self._open_pipes = {1, 2}
        self._closed = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = max(0, MAX_OUTPUT - len(self.output[fd]))
        self.output[fd] += data[:room]
        self.dropped[fd] += len(data[room:])

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open_pipes.discard(fd)
        if not self._open_pipes:
            self._closed.set()

    def process_exited(self) -> None:
        self.exited.set()

    async def wait_for_pipes(self) -> None:
        """Wait a moment for the last output: processes left behind may hold the pipes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._closed.wait()

    def text(self, fd: int) -> str:
        """Return what was written, with a note about what was not kept."""
        text = self.output[fd].decode("utf-8", "replace").rstrip("\n")
        return f"{text}\n[{self.dropped[fd]} more bytes]" if self.dropped[fd] else text


async def _end(transport: asyncio.SubprocessTransport, program: _Program) -> None:
    """End the program and whatever it has left behind, and see its end."""
    _kill_group(transport)
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await program.exited.wait()
    transport.close()


def _kill_group(transport: asyncio.SubprocessTransport) -> None:
    """Kill the program, if it runs, and whatever it has left behind."""
    with suppress(ProcessLookupError, PermissionError):
        if _WINDOWS:
            transport.kill()
        else:
            os.killpg(transport.get_pid(), signal.SIGKILL)
