"""The server as a process: one socket, one runtime, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from types import FrameType
from typing import Any, Literal, Protocol

import uvicorn
from starlette.types import ASGIApp

import antiphon
from antiphon.errors import BadSettings
from antiphon.runtime import Runtime, opened
from antiphon.server.access import check_bind
from antiphon.server.app import Application, Opener, app
from antiphon.server.connection import Connection
from antiphon.server.stream import Pace
from antiphon.settings import TABLE, Settings, shown

BACKLOG = 2048
KEEP_ALIVE = 75  # seconds: longer than the proxies in front keep theirs, or they meet a closed one
SOON = 0.5  # seconds after which an end that waits says so
LAST_WORDS = 5  # seconds for answers that are on their way when everything else has ended


Ending = Callable[[], bool]
"""Whether the server is about to end: who waits for nothing in particular shall stop waiting."""

Beside = Callable[[Runtime, Ending], AbstractAsyncContextManager[ASGIApp]]
"""An application over the same runtime: it answers what is at none of the backend's addresses."""

Alone = Callable[[Ending], AbstractAsyncContextManager[ASGIApp]]
"""An application without a runtime of its own."""


def serve(settings: Settings, beside: Beside | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let runs and streams end; a second signal does not wait.

    What is served is said on stderr; `listening on http://...` comes when it can be connected to.
    Raises `BadSettings` and `Unavailable` for what keeps it from starting.
    """
    _run(_serve(settings, beside))


def host(settings: Settings, alone: Alone) -> None:
    """Serve this application in the backend's place, by the same rules."""
    _run(_host(settings, alone))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    factory = uvicorn.Config(_nothing, log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serving)


def _spare_the_collector() -> None:
    """What is there at the start stays; what comes later is mostly free of cycles.

    By its defaults the collector takes a tenth of a busy server's time and finds nothing.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def serving(
    settings: Settings,
    opener: Opener = opened,
    beside: Beside | None = None,
    pace: Pace = Pace(),  # noqa: B008 - a frozen value
) -> AsyncGenerator[str]:
    """A server in this event loop for as long as the block lasts; gives its address."""
    async with _prepared(settings, opener, beside, pace) as (server, listener):
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.until_open()
            yield _address(listener)
        finally:
            server.stop()
            await running


async def _serve(settings: Settings, beside: Beside | None) -> None:
    async with _prepared(settings, opened, beside, Pace()) as (server, listener):
        server.when_open = lambda: _say(f"listening on {_address(listener)}")
        _spare_the_collector()
        others = _others_log_in(settings, beside)
        _say(await _about(server.runtime, settings, "the web chat" if others else "this machine"))
        await server.serve(sockets=[listener])


async def _host(settings: Settings, alone: Alone) -> None:
    guest = _Guest()
    async with alone(lambda: guest.closing) as application:
        with _bound(settings.host, settings.port) as listener:
            # It was opened around this block, and has no lifespan to run.
            server = Hosting(_config(application, lifespan="off"), guest)
            server.when_open = lambda: _say(f"listening on {_address(listener)}")
            _spare_the_collector()
            await server.serve(sockets=[listener])


class _Closing(Protocol):
    """What is told that the end is near."""

    closing: bool
    draining: bool


class _Guest:
    """An application that only has to know that the end is near."""

    def __init__(self) -> None:
        self.closing = False
        self.draining = False


class Hosting(uvicorn.Server):
    """uvicorn, with an end in which what is under way is given its time."""

    def __init__(self, config: uvicorn.Config, face: _Closing) -> None:
        super().__init__(config)
        self.when_open: Callable[[], None] = _nothing
        self._face = face
        self._open = asyncio.Event()
        self._stopping = False
        self._drain: asyncio.Task[None] | None = None

    async def until_open(self) -> None:
        """Wait until connections are taken."""
        await self._open.wait()

    def stop(self) -> None:
        """Begin the end; asked twice, give back what runs and end streams at once."""
        if self._stopping:
            self.should_exit = True
        self._stopping = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections, and say so."""
        await super().startup(sockets)
        self._open.set()
        self.when_open()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal asks for the end. It is not raised again afterwards: this end is a good one."""
        self.stop()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's heartbeat: the place from which a signal is noticed."""
        if self._stopping and self._drain is None:
            self._drain = asyncio.create_task(self._end())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the socket and the connections."""
        self._face.closing = True
        if self._drain is not None and not self._drain.done():
            self._drain.cancel()
            with suppress(asyncio.CancelledError):
                await self._drain
        await super().shutdown(sockets)

    async def _end(self) -> None:
        """Take nothing new, which `/readyz` says, and let end what runs; then end ourselves."""
        self._face.draining = True
        try:
            await self._drained()
        finally:
            self.should_exit = True

    async def _drained(self) -> None:
        """Once nothing is under way any more, or has had its time."""


class Server(Hosting):
    """The server of a runtime, whose runs are given their time."""

    def __init__(self, config: uvicorn.Config, face: _Closing, runtime: Runtime) -> None:
        super().__init__(config, face)
        self.runtime = runtime

    async def _drained(self) -> None:
        grace = self.runtime.settings.grace
        said = f"ending; runs that are under way have {grace:g} s, a second Ctrl+C does not wait"
        telling = asyncio.get_running_loop().call_later(SOON, _say, said)
        try:
            await self.runtime.drain(grace)
        finally:
            telling.cancel()


@asynccontextmanager
async def _prepared(
    settings: Settings, opener: Opener, beside: Beside | None, pace: Pace
) -> AsyncGenerator[tuple[Server, socket.socket]]:
    """A runtime, a socket that is bound, and the server that will listen on it."""
    faces: list[Application] = []

    def closing() -> bool:
        return any(face.closing for face in faces)

    async with opener(settings) as runtime, _opened(beside, runtime, closing) as elsewhere:
        locked = bool(await runtime.store.keys()) or _others_log_in(settings, beside)
        check_bind(settings.host, locked)
        with _bound(settings.host, settings.port) as listener:
            face = app(settings, lambda _: nullcontext(runtime), elsewhere, pace)
            faces.append(face)
            yield Server(_config(face), face, runtime), listener


def _others_log_in(settings: Settings, beside: Beside | None) -> bool:
    """Whether there are people who come by a login of theirs; the backend then asks for keys."""
    return beside is not None and settings.login != "none"


def _opened(
    beside: Beside | None, runtime: Runtime, closing: Ending
) -> AbstractAsyncContextManager[ASGIApp | None]:
    return nullcontext() if beside is None else beside(runtime, closing)


def _config(face: ASGIApp, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    return uvicorn.Config(
        face,
        http=Connection,
        ws="none",
        lifespan=lifespan,
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who asks is who is connected; what a header claims is not believed
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_WORDS,
    )


def _bound(host: str, port: int) -> socket.socket:
    """A socket on that address, and on no other.

    `socket.create_server` leaves the protocol at 0, upon which asyncio does not switch Nagle's
    algorithm off: each answer would wait for the reader's delayed acknowledgement, 40 ms.
    """
    listener: socket.socket | None = None
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BadSettings(
            f"Port {port} of {host} cannot be listened on: {error.strerror or error}.",
            expected="a free port of this machine",
            hint="`antiphon doctor` says what is there; --port 0 takes any that is free.",
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _about(runtime: Runtime, settings: Settings, keyless: str) -> str:
    choice = await runtime.choice()
    locked = bool(await runtime.store.keys())
    return (
        f"antiphon {antiphon.__version__} on {settings.host}:{settings.port}, "
        f"database {shown(TABLE['database'], settings.database)}, "
        f"model {choice.model} ({choice.why}), "
        + ("keys: yes" if locked else f"keys: no, so {keyless} only")
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing() -> None:
    """What is done when there is nothing to do."""
