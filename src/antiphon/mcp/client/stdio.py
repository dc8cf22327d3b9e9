"""A server as a child process: its stdout are messages, its stderr the reason when it fails.

The SDK's own transport tells neither that the process ended nor how, and gathers lines of any
length; hence this one. It gives the SDK the same two streams.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import anyio
import msgspec
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    jsonrpc_message_adapter,
)

from antiphon.mcp.client.ndjson import EDGE, LARGEST, Lines, answered
from antiphon.mcp.client.session_monitor import Watch
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import told_line
from antiphon.types.errors import Unavailable

GRACE_SECONDS = 1.0
"""For a server to end when its stdin is closed, and again when it is told to terminate."""
LAST_WORDS_SECONDS = 0.2
"""Between the end of a process and that of its pipes, which a child of its own may hold open."""
WAITING = 256
"""Messages read ahead; then the pipe is left to fill."""


@asynccontextmanager
async def stdio(config: ServerConfig, watch: Watch) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of a server that runs as long as the block. Raises `Unavailable`."""
    child = await _started(config, watch)
    try:
        yield child, _Stdin(child)
    finally:
        with anyio.CancelScope(shield=True):  # a process may not outlive us; each wait is bounded
            await child.stop()


class _Child(asyncio.SubprocessProtocol):
    """The process, and what came from it and waits to be read."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stdout = Lines(self._message, self._too_long)
        self._stderr = Lines(self._err, lambda head, _: self._err(head), largest=64 * 1024)
        self._inbox: deque[SessionMessage] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._paused = False
        self._exited = asyncio.Event()
        self._quiet = asyncio.Event()
        self._open_pipes = {1, 2}
        self._writable = asyncio.Event()
        self._writable.set()
        self._farewell: asyncio.Task[None] | None = None

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr.feed(data)
            return
        self._stdout.feed(data)
        if len(self._inbox) >= WAITING and not self._paused:
            self._paused = True
            self._pipe(1).pause_reading()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open_pipes.discard(fd)
        if fd == 0:
            self._writable.set()
            return
        (self._stdout if fd == 1 else self._stderr).close()
        if not self._open_pipes:
            self._quiet.set()
        if fd == 1:
            self._part()

    def process_exited(self) -> None:
        self._exited.set()
        self._part()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What the session reads and writes.

    async def receive(self) -> SessionMessage:
        while not self._inbox:
            if self._ended:
                raise anyio.EndOfStream
            self._arrived.clear()
            await self._arrived.wait()
        if self._paused and len(self._inbox) <= WAITING // 2:
            self._paused = False
            with suppress(RuntimeError):  # the pipe may be closed by now
                self._pipe(1).resume_reading()
        return self._inbox.popleft()

    async def aclose(self) -> None:
        self._end()

    async def send(self, message: SessionMessage) -> None:
        pipe = self._process.get_pipe_transport(0)
        if self._ended or pipe is None or pipe.is_closing():
            raise anyio.BrokenResourceError
        line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        cast(asyncio.WriteTransport, pipe).write(line.encode() + b"\n")
        await self._writable.wait()

    async def stop(self) -> None:
        """End the process and all that it started."""
        self._end()
        try:
            await self._asked_to_go()
        finally:  # cut off by a second cancellation, it leaves nobody behind either
            _strike(self._process, _KILL, gone=self._exited.is_set())
            self._process.close()
            if self._farewell is not None:
                self._farewell.cancel()

    async def _asked_to_go(self) -> None:
        """The protocol's way: its stdin is closed, then it is told to, then it is made to."""
        if (stdin := self._process.get_pipe_transport(0)) is not None:
            stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._exited.wait()
        for blow in (signal.SIGTERM, _KILL):
            if not _strike(self._process, blow, gone=self._exited.is_set()):
                return
            await self._deserted()

    def _pipe(self, fd: int) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._process.get_pipe_transport(fd))

    def _message(self, line: bytes) -> None:
        line = line.strip()
        if not line:
            return
        if (message := _parsed(line)) is not None:
            self._put(SessionMessage(message))
        else:
            self._watch.prints_rubbish(line)
            self._unread(line[:EDGE], line[-EDGE:], "is no message that can be read")

    def _too_long(self, head: bytes, tail: bytes) -> None:
        if not self._unread(head, tail, f"is larger than {LARGEST >> 20} MB"):
            self._watch.prints_rubbish(head)

    def _unread(self, head: bytes, tail: bytes, why: str) -> bool:
        """Let the call fail whose reply cannot be read, so that it need not wait."""
        number = answered(head, tail) if head.startswith(b"{") and b'"method"' not in head else None
        if number is None:
            return False
        error = ErrorData(code=INTERNAL_ERROR, message=f"The server's reply {why}.")
        self._put(SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error)))
        return True

    def _put(self, message: SessionMessage) -> None:
        self._inbox.append(message)
        self._arrived.set()

    def _err(self, line: bytes) -> None:
        self._watch.errs(line[:2_000].decode(errors="replace"))

    def _part(self) -> None:
        """The end has begun: wait a moment for the rest of it, then say so."""
        if self._farewell is None and not self._ended:
            self._farewell = asyncio.get_running_loop().create_task(self._last_words())

    async def _last_words(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._exited.wait()
                await self._quiet.wait()
        self._watch.end(_obituary(self._process.get_returncode()))
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()
        self._writable.set()

    async def _deserted(self) -> None:
        """Wait a while until nobody of the group is left: of a grandchild's end nobody tells."""
        for _ in range(round(GRACE_SECONDS / 0.01)):
            if self._exited.is_set() and not _peopled(self._process):
                return
            await asyncio.sleep(0.01)

    def __aiter__(self) -> _Child:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _Child:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end()


class _Stdin:
    """The writing half, which the session closes on its own."""

    def __init__(self, child: _Child) -> None:
        self._child = child

    async def send(self, message: SessionMessage) -> None:
        await self._child.send(message)

    async def aclose(self) -> None:
        """Nothing: `stop` closes the pipe."""

    async def __aenter__(self) -> _Stdin:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing, as above."""


_WINDOWS = sys.platform == "win32"
_KILL = signal.SIGTERM if _WINDOWS else signal.SIGKILL


async def _started(config: ServerConfig, watch: Watch) -> _Child:
    environment = get_default_environment() | config.env
    program = shutil.which(config.command, path=environment.get("PATH")) or config.command
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if _WINDOWS
        else {"start_new_session": True}  # a group of its own, so that it can be ended as a whole
    )
    try:
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(watch),
            program,
            *config.args,
            env=environment,
            cwd=config.cwd,
            **apart,
        )
    except (OSError, ValueError) as error:
        raise Unavailable(_unstartable(config, error)) from error
    return child


def _parsed(line: bytes) -> JSONRPCMessage | None:
    """The message that the line is, if it is one."""
    if not line.startswith(b"{"):
        return None
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    try:  # pydantic's reader gives up at 200 levels, and one tool's deep schema is not the others'
        return jsonrpc_message_adapter.validate_python(msgspec.json.decode(line), by_name=False)
    except (ValueError, RecursionError):
        return None


def _unstartable(config: ServerConfig, error: OSError | ValueError) -> str:
    command = told_line(config.command, 100)
    if config.cwd is not None and not os.path.isdir(config.cwd):
        return f"its folder {told_line(config.cwd, 200)} is not there"
    match error:
        case FileNotFoundError():
            return f"there is no program {command} on the PATH; install it, or give its whole path"
        case PermissionError():
            return f"{command} may not be run"
        case _:
            return f"{command} cannot be started: {told_line(str(error))}"


def _obituary(code: int | None) -> str:
    if code is None:
        return "it closed its stdout"
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


def _peopled(process: asyncio.SubprocessTransport) -> bool:
    if _WINDOWS:
        return False
    try:
        os.killpg(process.get_pid(), 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _strike(process: asyncio.SubprocessTransport, blow: signal.Signals, *, gone: bool) -> bool:
    """Signal the process and all of its group; whether there was anybody left."""
    pid = process.get_pid()
    if _WINDOWS:
        if not gone:
            tree = ["taskkill", "/F", "/T", "/PID", str(pid)]
            subprocess.run(tree, check=False, capture_output=True, timeout=10)  # noqa: S603
        return not gone
    try:
        os.killpg(pid, blow)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True
