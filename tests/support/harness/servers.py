"""Processes that serve: started, watched, frozen, killed."""

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

_OURS = ("ANTIPHON_", "FAILPOINTS", "_API_KEY")
QUIET = {
    "PYTHONWARNINGS": "default",
    "XDG_DATA_HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "ANTIPHON_MODEL": "demo",
}


class Failed(Exception):
    """The process ended before it listened; the message is what it said."""


class Server:
    """A process, from its start to its end. `said` is what it wrote to stderr."""

    def __init__(
        self,
        pid: int,
        told: asyncio.StreamReader,
        process: fork_server.Child | None = None,
    ) -> None:
        self.pid = pid
        self.url = ""
        self.armed = False
        self.said: list[str] = []
        self._told = told
        self._process = process
        self._listening = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        """True while its end of the pipe is open: the pid is still its own."""
        return not self._reading.done()

    @property
    def exit_code(self) -> int | None:
        """Exit code, below 0 for a signal; None while it runs."""
        return self._process.returncode if self._process else None

    async def listening(self) -> str:
        """Its address, once it can be connected to. Raises `Failed`."""
        async with asyncio.timeout(START_SECONDS):
            self.url = await asyncio.shield(self._listening)
        return self.url

    def send(self, number: signal.Signals) -> None:
        """A signal, if it still lives."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.end()

    async def end(self) -> None:
        """Wait until it has ended by itself, under a deadline."""
        async with asyncio.timeout(END_SECONDS):
            await self.wait()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await asyncio.shield(self._reading)
        if self._process:
            await self._process.wait()

    @property
    def complaints(self) -> list[str]:
        """Lines that report its own faults."""
        broken = any("Traceback" in line or "Internal" in line for line in self.said)
        return ["\n".join(self.said)] if broken else []

    async def leave(self) -> None:
        """End it, in order if it can."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with suppress(TimeoutError):
            await self.end()
        await self.kill()

    async def stop_cleanly(self) -> None:
        """End it; fails the test where it has said that something broke."""
        await self.leave()
        assert not self.complaints, self.complaints[0]

    async def _read(self) -> None:
        async for line in self._told:
            text = line.decode(errors="replace").rstrip()
            self.said.append(text)
            word, _, url = text.rpartition(" ")
            if word == "listening on" and not self._listening.done():
                self._listening.set_result(url)
        if not self._listening.done():
            self._listening.set_exception(Failed("\n".join(self.said)))
            self._listening.exception()  # whoever asks is told; nobody has to


async def start_server(settings: Mapping[str, str], *flags: str, command: str = "serve") -> Server:
    """`antiphon serve --port 0`, listening; with these variables and no others of ours.

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
    """The same, which will soon listen."""
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
    """This process's own variables without those that change what a server does, and these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and not name.endswith(_OURS)
    }
    return kept | QUIET | settings


class Forge:
    """Starts servers in a few milliseconds: all is imported once, and each server is a fork.

    A server that is killed twice a second would else never get as far as listening. `surroundings`
    are variables that must be there before the program is. Where there are none, and the program is
    our own, there is a process that has it loaded for all tests.
    """

    def __init__(
        self, entry: str = fork_server.ANTIPHON, surroundings: Mapping[str, str] | None = None
    ) -> None:
        self._entry = entry
        self._surroundings = surroundings or {}
        self._orders: socket.socket | None = None
        self._born: list[Server] = []
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Forge:
        if self._entry == fork_server.ANTIPHON and not self._surroundings:
            return self
        self._orders, theirs = socket.socketpair()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FORGE),
            str(theirs.fileno()),
            self._entry,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a group of its own, which it ends with itself
            stdin=asyncio.subprocess.DEVNULL,
            env=environment(self._surroundings),
        )
        theirs.close()
        await asyncio.to_thread(self._orders.recv, 8)  # it says when it is ready
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._born:
            await server.kill()
        if self._orders:
            self._orders.close()
            await self._process.wait()

    async def start(self, settings: Mapping[str, str], flags: Sequence[str] = ()) -> Server:
        """A process that will soon listen."""
        if self._orders:
            server = await self._fork(self._orders, settings, flags)
        else:
            server = await _spawn(settings, flags)
            self._born.append(server)
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
