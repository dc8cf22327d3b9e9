"""Transport over a child process: messages on stdout, diagnostics on stderr.

The SDK's own transport neither reports that the process ended nor bounds the length of a line. This
one gives the SDK the same two streams.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
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

from antiphon.mcp.client.session_monitor import LARGEST, SessionMonitor
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import clean_line
from antiphon.tools.programs import find_program
from antiphon.types.errors import Unavailable

GRACE_SECONDS = 1.0
"""Time for a server to end after its stdin or stdout is closed, and again after SIGTERM."""
REAP_SECONDS = 10.0
"""Time in which the end of a process that was killed is seen, however busy the machine is."""
LAST_WORDS_SECONDS = 0.2
"""Time between the end of a process and that of its pipes, which a grandchild may hold open."""
WAITING = 256
"""Messages read ahead before the pipe is paused."""
EDGE = 256
"""Bytes kept of each end of a message that is too long."""


@asynccontextmanager
async def connect_stdio(
    config: ServerConfig, monitor: SessionMonitor
) -> AsyncGenerator[tuple[Any, Any]]:
    """Run the server for the length of the block; yield its streams. Raises `Unavailable`."""
    with anyio.CancelScope(shield=True):  # what was started can be ended in order
        child = await _start(config, monitor)
    # Nothing cancels the scope, so that it has not left the block early.
    running = child  # pyright: ignore[reportPossiblyUnboundVariable]
    try:
        yield running, _Stdin(running)
    finally:
        with anyio.CancelScope(shield=True):  # a process may not outlive us; each wait is bounded
            await running.stop()


class _Child(asyncio.SubprocessProtocol):
    """The process, and its messages that are not read yet."""

    def __init__(self, monitor: SessionMonitor) -> None:
        self._monitor = monitor
        self._stdout = LineSplitter(self._message, self._too_long)
        self._stderr = LineSplitter(
            self._add_stderr, lambda head, _: self._add_stderr(head), largest=64 * 1024
        )
        self._inbox: deque[SessionMessage] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._paused = False
        self._exited = asyncio.Event()
        self._quiet = asyncio.Event()
        self._open_pipes = {1, 2}
        self._writable = asyncio.Event()
        self._writable.set()
        self._ending: asyncio.Task[None] | None = None

    # Callbacks of asyncio.

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
            self._begin_end()

    def process_exited(self) -> None:
        self._exited.set()
        self._begin_end()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Interface of the session.

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
            self._begin_end()
            # The reason must be known: a pipe may close before the exit is seen.
            if self._ending is not None:
                await asyncio.wait([self._ending])
            raise anyio.BrokenResourceError
        line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        cast(asyncio.WriteTransport, pipe).write(line.encode() + b"\n")
        await self._writable.wait()

    async def stop(self) -> None:
        """End the process and all that it started."""
        ended_by_itself = self._ending is not None
        self._end()
        try:
            await self._terminate()
        finally:  # after a second cancellation too, no process is left behind
            _signal_group(self._process, _KILL, gone=self._exited.is_set())
            if self._ending is not None:
                self._ending.cancel()
            if ended_by_itself and self._exited.is_set():
                self._monitor.end(_describe_exit(self._process.get_returncode()))
            self._process.close()

    async def _terminate(self) -> None:
        """Close stdin, then terminate, then kill, as MCP specifies."""
        if (stdin := self._process.get_pipe_transport(0)) is not None:
            stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._exited.wait()
        for signal_number in (signal.SIGTERM, _KILL):
            if not _signal_group(self._process, signal_number, gone=self._exited.is_set()):
                break
            # Wait a while for the process group to empty: the end of a grandchild is not reported.
            for _ in range(round(GRACE_SECONDS / 0.01)):
                if self._exited.is_set() and not _group_exists(self._process):
                    break
                await asyncio.sleep(0.01)
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await self._exited.wait()

    def _pipe(self, fd: int) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._process.get_pipe_transport(fd))

    def _message(self, line: bytes) -> None:
        line = line.strip()
        if not line:
            return
        if (message := _parse(line)) is not None:
            self._put(SessionMessage(message))
        else:
            self._monitor.count_invalid_line(line)
            self._fail_reply(line[:EDGE], line[-EDGE:], "is no message that can be read")

    def _too_long(self, head: bytes, tail: bytes) -> None:
        if not self._fail_reply(head, tail, f"is larger than {LARGEST >> 20} MB"):
            self._monitor.count_invalid_line(head)

    def _fail_reply(self, head: bytes, tail: bytes, why: str) -> bool:
        """Fail the call whose reply cannot be read, so that it does not wait."""
        number = reply_id(head, tail) if head.startswith(b"{") and b'"method"' not in head else None
        if number is None:
            return False
        error = ErrorData(code=INTERNAL_ERROR, message=f"The server's reply {why}.")
        self._put(SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error)))
        return True

    def _put(self, message: SessionMessage) -> None:
        self._inbox.append(message)
        self._arrived.set()

    def _add_stderr(self, line: bytes) -> None:
        self._monitor.add_stderr(line[:2_000].decode(errors="replace"))

    def _begin_end(self) -> None:
        """Begin the end: wait a moment for the remaining output."""
        if self._ending is None and not self._ended:
            self._ending = asyncio.get_running_loop().create_task(self._drain_and_end())

    async def _drain_and_end(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._exited.wait()
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._quiet.wait()
        self._monitor.end(_describe_exit(self._process.get_returncode()))
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()
        self._writable.set()

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
    """Writing half of the transport, which the session closes separately."""

    def __init__(self, child: _Child) -> None:
        self._child = child

    async def send(self, message: SessionMessage) -> None:
        await self._child.send(message)

    async def aclose(self) -> None:
        """Do nothing: `stop` closes the pipe."""

    async def __aenter__(self) -> _Stdin:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""


_WINDOWS = sys.platform == "win32"
_KILL = signal.SIGTERM if _WINDOWS else signal.SIGKILL


async def _start(config: ServerConfig, monitor: SessionMonitor) -> _Child:
    environment = get_default_environment() | config.env
    has_path = bool(os.path.dirname(config.command))
    program = (
        shutil.which(config.command) or config.command
        if has_path
        else find_program(config.command, environment)
    )
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if _WINDOWS
        else {"start_new_session": True}  # a group of its own, so that it can be ended as a whole
    )
    if config.cwd is None and config.start_folder:
        try:
            os.makedirs(config.start_folder, mode=0o700, exist_ok=True)
        except OSError as error:
            folder = clean_line(config.start_folder, 200)
            why = f"it would start in {folder}, which cannot be made: {error.strerror}"
            raise Unavailable(f"{why}; give it a `cwd`") from error
    try:
        if program is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), config.command)
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(monitor),
            program,
            *config.args,
            env=environment,
            cwd=config.cwd or config.start_folder or None,
            **apart,
        )
    except (OSError, ValueError) as error:
        raise Unavailable(_describe_start_error(config, error)) from error
    return child


def _parse(line: bytes) -> JSONRPCMessage | None:
    """Parse a line; None if it is not a message."""
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


def _describe_start_error(config: ServerConfig, error: OSError | ValueError) -> str:
    command = clean_line(config.command, 100)
    if config.cwd is not None and not os.path.isdir(config.cwd):
        return f"its folder {clean_line(config.cwd, 200)} is not there"
    match error:
        case FileNotFoundError():
            return f"there is no program {command} on the PATH; install it, or give its whole path"
        case PermissionError():
            return f"{command} may not be run"
        case _:
            return f"{command} cannot be started: {clean_line(str(error))}"


def _describe_exit(code: int | None) -> str:
    if code is None:
        return "it closed its stdout"
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


def _group_exists(process: asyncio.SubprocessTransport) -> bool:
    if _WINDOWS:
        return False
    try:
        os.killpg(process.get_pid(), 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal_group(
    process: asyncio.SubprocessTransport, signal_number: signal.Signals, *, gone: bool
) -> bool:
    """Signal the process group; return whether any process was left."""
    pid = process.get_pid()
    if _WINDOWS:
        if not gone:
            # By its path: Windows would look for the name in the working folder first.
            taskkill = os.path.join(os.environ["SYSTEMROOT"], "System32", "taskkill.exe")
            tree = [taskkill, "/F", "/T", "/PID", str(pid)]
            subprocess.run(tree, check=False, capture_output=True, timeout=10)  # noqa: S603
        return not gone
    try:
        os.killpg(pid, signal_number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


# Lines of stdout, one message each.


class LineSplitter:
    """Split bytes into lines of at most `largest` bytes.

    Of a longer line, `too_long` receives the head and the tail.
    """

    def __init__(
        self,
        line: Callable[[bytes], None],
        too_long: Callable[[bytes, bytes], None],
        largest: int = LARGEST,
    ) -> None:
        self._line = line
        self._too_long = too_long
        self._largest = largest
        self._pieces: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._close()
        self._add(rest)

    def close(self) -> None:
        """Emit what is left as the last line."""
        if self._size:
            self._close()

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._skipping:
            self._tail = (self._tail + piece)[-EDGE:]
            return
        if piece:
            self._pieces.append(piece)
        if self._size > self._largest:
            gathered = b"".join(self._pieces)
            self._head, self._tail = gathered[:EDGE], gathered[-EDGE:]
            self._pieces, self._skipping = [], True

    def _close(self) -> None:
        if self._skipping:
            self._too_long(self._head, self._tail)
        else:
            self._line(b"".join(self._pieces))
        self._pieces, self._size, self._skipping = [], 0, False


def reply_id(head: bytes, tail: bytes) -> int | None:
    """Return the id of the request that a reply answers, found in its ends; None if not found.

    SDKs write the id first or last. Our ids are numbers.
    """
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return int(found[1]) if found else None


_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
