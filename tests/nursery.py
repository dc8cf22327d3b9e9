"""A process that has loaded the program once; where tests start the program, it is forked.

Loading takes half a second of a processor, a second and a half with MCP, and the program is started
many hundred times. Run as a program, this is that process, and is spoken to over its stdin.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import warnings
from asyncio import get_running_loop
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

LOADED = (
    "antiphon.cli",
    "antiphon.commands.chat",
    "antiphon.commands.chatting",
    "antiphon.commands.serve",
    "antiphon.runtime",
    "antiphon.terminal.opening",
    "antiphon.tools.mcp.connection",
)
SECONDS = 30
"""For the process to end, once nobody speaks to it."""


READ_AT_THE_BEGINNING = ("LANG", "LC_", "PYTHON", "TZ")
"""Variables that a process does not look at again once it has begun."""
HEEDED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Those that a fork heeds nevertheless."""


def needs_a_beginning(environ: Iterable[str]) -> bool:
    """Whether one of these variables is heeded only by a process that is started from nothing."""
    return any(name.startswith(READ_AT_THE_BEGINNING) and name not in HEEDED for name in environ)


class Child:
    """The program, which was born."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line

    async def wait(self) -> int:
        """The exit code, as `asyncio.subprocess` tells it, once there is one."""
        if self.returncode is None:
            self.returncode = _number(await get_running_loop().sock_recv(self._line, 4))
            self._line.close()
        return self.returncode


async def born(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str], streams: Sequence[int]
) -> Child:
    """`antiphon` with these arguments; `streams` are its stdin, stdout and stderr.

    It leads a session of its own. A terminal as stdin is that session's.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_nursery(), [b"."], [theirs.fileno(), *streams])
    ours.setblocking(False)
    asked = json.dumps([list(arguments), str(folder), dict(environ)]).encode()
    await get_running_loop().sock_sendall(ours, asked + b"\n")
    return Child(_number(await get_running_loop().sock_recv(ours, 4)), ours)


@functools.cache
def _nursery() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=theirs,
            env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
            start_new_session=True,
        )

    def close() -> None:
        ours.close()
        process.wait(SECONDS)

    atexit.register(close)
    return ours


def _number(told: bytes) -> int:
    return int.from_bytes(told, "big", signed=True)


def _told(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


# The process.


def main() -> int:
    """Be forked until nobody can ask for it any more; in each fork, be the program."""
    for name in LOADED:
        import_module(name)
    gc.freeze()  # a collection in a fork would copy everything
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asking = socket.socket(fileno=0)
    while True:
        asked, files, _, _ = socket.recv_fds(asking, 1, 4)
        if not asked:
            return 0
        if not os.fork():
            return _attended(asking, *files)
        for file in files:
            os.close(file)


def _attended(asking: socket.socket, line: int, *streams: int) -> int:
    """Tell of the program's birth and end, and, in one more fork, be the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asking.detach()
    with socket.socket(fileno=line) as parent:
        with parent.makefile("rb") as told:
            arguments, folder, environ = json.loads(told.readline())
        if pid := os.fork():
            for stream in streams:
                os.close(stream)
            parent.sendall(_told(pid))
            _, status = os.waitpid(pid, 0)
            parent.sendall(_told(os.waitstatus_to_exitcode(status)))
            os._exit(0)
    _move_in(folder, environ, streams)
    sys.argv = ["antiphon", *arguments]
    code: int = import_module("antiphon.cli").main()
    return code


def _move_in(folder: str, environ: dict[str, str], streams: Sequence[int]) -> None:
    """All that a process is born with is as if it had been started anew."""
    os.setsid()
    for file, stream in enumerate(streams):
        os.dup2(stream, file)
        os.close(stream)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path.insert(0, folder)
    if how := environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(how)
    for file, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = open(file, mode, encoding="utf-8", errors=getattr(sys, name).errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(
            line_buffering=file == 2 or os.isatty(file),
            write_through="PYTHONUNBUFFERED" in environ,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    sys.exit(main())
