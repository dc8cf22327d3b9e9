"""Server processes that tests start, watch, suspend and kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support import fork_server

START_SECONDS = 60.0
END_SECONDS = 60.0
FORGE = Path(__file__).with_name("forge.py")

_ANTIPHON_VARIABLES = ("ANTIPHON_", "FAILPOINTS", "_API_KEY")
QUIET = {
    "PYTHONWARNINGS": "default",
    "XDG_DATA_HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "ANTIPHON_MODEL": "demo",
}


class Failed(Exception):
    """The process ended before it listened; the message is its output on stderr."""


class Server:
    """A server process. `said` are its lines on stderr."""

    def __init__(
        self,
        pid: int,
        stderr: asyncio.StreamReader,
        process: fork_server.Child | None = None,
    ) -> None:
        self.pid = pid
        self.url = ""
        self.armed = False
        self.said: list[str] = []
        self._stderr = stderr
        self._process = process
        self._listening = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        """True while its end of the pipe is open: until then the pid belongs to the server."""
        return not self._reading.done()

    @property
    def exit_code(self) -> int | None:
        """Exit code, below 0 for a signal; None while it runs."""
        return self._process.returncode if self._process else None

    async def listening(self) -> str:
        """Wait until it listens; return its address. Raises `Failed`."""
        async with asyncio.timeout(START_SECONDS):
            self.url = await asyncio.shield(self._listening)
        return self.url

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it still runs."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.send(signal.SIGKILL)
        await self.end()

    async def end(self) -> None:
        """Wait until the process has ended, under a deadline."""
        async with asyncio.timeout(END_SECONDS):
            await self.wait()

    async def wait(self) -> None:
        """Wait until the process has ended."""
        await asyncio.shield(self._reading)
        if self._process:
            await self._process.wait()

    @property
    def complaints(self) -> list[str]:
        """Output that reports internal errors."""
        broken = any("Traceback" in line or "Internal" in line for line in self.said)
        return ["\n".join(self.said)] if broken else []

    async def leave(self) -> None:
        """Stop the process, in order if possible."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with suppress(TimeoutError):
            await self.end()
        await self.kill()

    async def stop_cleanly(self) -> None:
        """Stop the process; fail the test if it reported internal errors."""
        await self.leave()
        assert not self.complaints, self.complaints[0]

    async def _read(self) -> None:
        async for line in self._stderr:
            text = line.decode(errors="replace").rstrip()
            self.said.append(text)
            word, _, url = text.rpartition(" ")
            if word == "listening on" and not self._listening.done():
                self._listening.set_result(url)
        if not self._listening.done():
            self._listening.set_exception(Failed("\n".join(self.said)))
            self._listening.exception()  # marks the error as retrieved, even if nobody awaits it


async def start_server(settings: Mapping[str, str], *flags: str, command: str = "serve") -> Server:
    """Start `antiphon serve --port 0` with these variables, and wait until it listens.

    `command` may be another one that serves: `up`, `web`.
    """
    server = await _spawn(settings, flags, command)
    try:
        await server.listening()
    except Failed:
        await server.wait()
        raise
    return server


async def _spawn(
    settings: Mapping[str, str], flags: Sequence[str], command: str = "serve"
) -> Server:
    """Start such a server without waiting until it listens."""
    read, write = os.pipe()
    nowhere = os.open(os.devnull, os.O_RDWR)
    process = await fork_server.start_fork(
        (command, "--port", "0", *flags),
        Path.cwd(),
        environment(settings),
        (nowhere, nowhere, write),
    )
    os.close(nowhere)
    os.close(write)
    return Server(process.pid, await _reader(read), process)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process without those of Antiphon, with `settings` added."""
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_ANTIPHON_VARIABLES) and not name.endswith(_ANTIPHON_VARIABLES)
    }
    return base | QUIET | settings


class Forge:
    """Starts servers in a few milliseconds: a process imports all modules once and forks servers.

    Otherwise a server that is killed twice a second would never listen. `surroundings` are
    variables that must be set before the process starts. Without any, and for Antiphon itself, the
    forge uses the process that all tests share.
    """

    def __init__(
        self, entry: str = fork_server.ANTIPHON, surroundings: Mapping[str, str] | None = None
    ) -> None:
        self._entry = entry
        self._surroundings = surroundings or {}
        self._orders: socket.socket | None = None
        self._servers: list[Server] = []
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Forge:
        if self._entry == fork_server.ANTIPHON and not self._surroundings:
            return self
        self._orders, forge_socket = socket.socketpair()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FORGE),
            str(forge_socket.fileno()),
            self._entry,
            pass_fds=[forge_socket.fileno()],
            start_new_session=True,  # in its own process group, which it kills at its end
            stdin=asyncio.subprocess.DEVNULL,
            env=environment(self._surroundings),
        )
        forge_socket.close()
        await asyncio.to_thread(self._orders.recv, 8)  # it sends `ready`
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            await server.kill()
        if self._orders:
            self._orders.close()
            await self._process.wait()

    async def start(self, settings: Mapping[str, str], flags: Sequence[str] = ()) -> Server:
        """Start a server without waiting until it listens."""
        if self._orders:
            server = await self._fork(self._orders, settings, flags)
        else:
            server = await _spawn(settings, flags)
            self._servers.append(server)
        server.armed = bool(settings.get("FAILPOINTS"))
        return server

    async def _fork(
        self, orders: socket.socket, settings: Mapping[str, str], flags: Sequence[str]
    ) -> Server:
        read, write = os.pipe()
        order = {"settings": dict(settings), "arguments": ["serve", "--port", "0", *flags]}
        async with self._one_at_a_time:
            socket.send_fds(orders, [json.dumps(order).encode()], [write])
            os.close(write)
            pid = await asyncio.to_thread(orders.recv, 64)
        return Server(int(pid), await _reader(read))


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    return reader
