"""Run a script of a skill as a program of its own, after a person has agreed.

No shell reads the command line. The program gets a short list of environment variables, no input,
and the working folder of the conversation; it and everything that it starts end with the call.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from antiphon.skills.skill import SCRIPT_PROGRAMS, Skill
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import ToolResult

VARIABLES = (
    *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"),
    *("APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT"),
    *("TEMP", "USERNAME", "USERPROFILE"),
)
"""Variables that a script gets: none of them holds a secret."""
MAX_OUTPUT = 200_000
"""Bytes kept of each of stdout and stderr."""
MAX_ARGUMENTS = 64
_END_SECONDS = 2.0
_WINDOWS = sys.platform == "win32"


def command_line(skill: Skill, script: str, args: Sequence[str]) -> list[str]:
    """Return the program and its arguments. Raises `InvalidRequest` for what is no script."""
    if len(args) > MAX_ARGUMENTS or any("\0" in arg for arg in args):
        raise InvalidRequest(
            "A script cannot be given these arguments.", expected=f"at most {MAX_ARGUMENTS} texts"
        )
    file = skill.folder / script
    programs = SCRIPT_PROGRAMS.get(file.suffix.lower().removeprefix("."))
    if programs is None:
        raise InvalidRequest(
            f"{script} is no script that can be run here.",
            expected="a file that ends in " + ", ".join(f".{end}" for end in SCRIPT_PROGRAMS),
        )
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None and programs[0] == "python3":
        program = sys.executable
    if program is None:
        raise InvalidRequest(f"{script} needs {programs[0]}, which is not installed here.")
    return [program, str(file), *args]


def format_command(command: Sequence[str], folder: Path) -> str:
    """Return the command line as a shell would take it, with its working folder."""
    return f"{shlex.join(command)}  (in {folder})"


async def run_script(command: Sequence[str], folder: Path) -> ToolResult:
    """Run the command; return its output and exit code.

    Its processes end with it: those that it leaves behind, and all of them if it is cancelled.
    """
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if _WINDOWS
        else {"start_new_session": True}  # a group of its own, so that it can be ended as a whole
    )
    try:
        transport, script = await asyncio.get_running_loop().subprocess_exec(
            _Script,
            *command,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=_environment(os.environ),
            **apart,
        )
    except (OSError, ValueError) as error:
        return ToolResult(f"The script cannot be started: {error}", is_error=True, fault="failed")
    try:
        await script.exited.wait()
        await script.wait_for_pipes()
    finally:
        _kill_group(transport)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await script.exited.wait()
        transport.close()
    return _result(script, transport.get_returncode() or 0)


class _Script(asyncio.SubprocessProtocol):
    """The script, and its output as far as it is kept."""

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
        """Wait a moment for the last output: what the script has left behind may hold the pipes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._closed.wait()

    def text(self, fd: int) -> str:
        """Return what was written, with a note about what was not kept."""
        text = self.output[fd].decode("utf-8", "replace").rstrip("\n")
        return f"{text}\n[{self.dropped[fd]} more bytes]" if self.dropped[fd] else text


def _result(script: _Script, code: int) -> ToolResult:
    out, err = script.text(1), script.text(2)
    parts = [out, f"[stderr]\n{err}" if err else "", f"[exit code {code}]" if code else ""]
    text = "\n".join(part for part in parts if part) or "[no output]"
    return ToolResult(text, is_error=bool(code), fault="failed" if code else None)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Compiled modules that lie beside a script are not what a person has seen.
    own = {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    return {name: environ[name] for name in VARIABLES if name in environ} | own


def _kill_group(transport: asyncio.SubprocessTransport) -> None:
    """Kill the script, if it runs, and whatever it has left behind."""
    with suppress(ProcessLookupError, PermissionError):
        if _WINDOWS:
            transport.kill()
        else:
            os.killpg(transport.get_pid(), signal.SIGKILL)
