"""The server as a process: one socket, one runtime, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Container, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any, Literal, NamedTuple, Protocol

import uvicorn
from starlette.types import ASGIApp

import antiphon
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.server.app import Application, Opener, app
from antiphon.server.auth import check_bind
from antiphon.server.connection import within
from antiphon.server.shared_metrics import Board
from antiphon.server.sockets import address, bound, room
from antiphon.server.streaming import Pace
from antiphon.server.watchdog import count_turns, watched_loop
from antiphon.settings.settings import TABLE, Settings, masked_value
from antiphon.telemetry import logs
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import MetricsSnapshot

BACKLOG = 2048
KEEP_ALIVE = 75  # seconds: longer than the proxies in front keep theirs, or they meet a closed one
SOON = 0.5  # seconds after which an end that waits says so
PINNED_EVERY = 1.0  # seconds: so old may the numbers of another process be
LAST_WORDS = 5  # seconds for answers that are on their way when everything else has ended


Ending = Callable[[], bool]
"""Whether the server is about to end: who waits for nothing in particular shall stop waiting."""

Beside = Callable[[Runtime, Ending], AbstractAsyncContextManager[ASGIApp]]
"""An application over the same runtime: it answers what is at none of the backend's addresses."""

Alone = Callable[[Ending], AbstractAsyncContextManager[ASGIApp]]
"""An application without a runtime of its own."""


class Share(NamedTuple):
    """What one of several processes of one server is given by whoever started them.

    It calls `ready` with what it serves, and ends in order when `lifeline`, a pipe, is closed at
    the other end: nobody looks after it any more. What it counts, it pins up at its `place` of the
    `board`.
    """

    listener: socket.socket
    lifeline: int
    ready: Callable[[str], None]
    board: Board
    place: int


def serve(settings: Settings, beside: Beside | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let runs and streams end; a second signal does not wait.

    What is served is said on stderr; `listening on http://...` comes when it can be connected to.
    Raises `BadSettings` and `Unavailable` for what keeps it from starting.
    """
    logs.configure_logging(settings)
    _run(_serve(settings, beside))


def serve_share(settings: Settings, share: Share) -> None:
    """Serve, as one of several, until SIGTERM; SIGINT is meant for the one who started them."""
    logs.configure_logging(settings)
    _run(_serve_share(settings, share))


def host(settings: Settings, alone: Alone) -> None:
    """Serve this application in the backend's place, by the same rules."""
    logs.configure_logging(settings)
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
    opener: Opener = open_runtime,
    beside: Beside | None = None,
    pace: Pace = Pace(),  # noqa: B008 - a frozen value
) -> AsyncGenerator[str]:
    """A server in this event loop for as long as the block lasts; gives its address."""
    async with _bound(settings, opener, beside, pace) as (server, listener):
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.until_open()
            yield address(listener)
        finally:
            server.stop()
            await running


async def _serve(settings: Settings, beside: Beside | None) -> None:
    async with _bound(settings, open_runtime, beside, _pace(settings)) as (server, listener):
        server.when_open = lambda: _say(f"listening on {address(listener)}")
        _spare_the_collector()
        others = _others_log_in(settings, beside)
        _say(await _about(server.runtime, settings, "the web chat" if others else "this machine"))
        with watched_loop(settings.watchdog_timeout):
            await server.serve(sockets=[listener])


async def _serve_share(settings: Settings, share: Share) -> None:
    loop = asyncio.get_running_loop()
    async with _prepared(settings, open_runtime, None, _pace(settings)) as server:
        about = await _about(server.runtime, settings, "this machine")

        def orphaned() -> None:
            loop.remove_reader(share.lifeline)
            server.stop()

        loop.add_reader(share.lifeline, orphaned)
        server.heeds = (signal.SIGTERM,)
        server.when_open = lambda: share.ready(about)
        server.face.elsewhere = partial(_counted_elsewhere, server.runtime, share)
        hit("serve.before_open")
        _spare_the_collector()
        pinning = asyncio.create_task(_pin_up(server.runtime, share))
        count = partial(share.board.count_turn, share.place)
        turning = asyncio.create_task(count_turns(count, settings.stall_timeout))
        try:
            with watched_loop(settings.watchdog_timeout):
                await server.serve(sockets=[share.listener])
        finally:
            pinning.cancel()
            turning.cancel()
            share.board.pin(share.place, server.runtime.metrics.snapshot())


def _counted_elsewhere(runtime: Runtime, share: Share) -> MetricsSnapshot:
    """What the others have counted. What is about to be told of us stays, though we be killed."""
    share.board.pin(share.place, runtime.metrics.snapshot())
    return share.board.without(share.place)


async def _pin_up(runtime: Runtime, share: Share) -> None:
    while True:
        share.board.pin(share.place, runtime.metrics.snapshot())
        await asyncio.sleep(PINNED_EVERY)


async def _host(settings: Settings, alone: Alone) -> None:
    guest = _Guest()
    async with alone(lambda: guest.closing) as application:
        with bound(settings.host, settings.port) as listener:
            # It was opened around this block, and has no lifespan to run.
            server = Hosting(_config(application, settings, lifespan="off"), guest)
            server.when_open = lambda: _say(f"listening on {address(listener)}")
            _spare_the_collector()
            with watched_loop(settings.watchdog_timeout):
                await server.serve(sockets=[listener])


class _Closing(Protocol):
    """What is told that the end is near."""

    leaving: bool
    draining: bool
    closing: bool


class _Guest:
    """An application that only has to know that the end is near."""

    def __init__(self) -> None:
        self.leaving = False
        self.draining = False
        self.closing = False


class Hosting(uvicorn.Server):
    """uvicorn, with an end in which what is under way is given its time.

    It `heeds` these signals; for `delay` seconds of its end it is only not ready any more.
    """

    delay = 0.0

    def __init__(self, config: uvicorn.Config, face: _Closing) -> None:
        super().__init__(config)
        self.when_open: Callable[[], None] = _nothing
        self.heeds: Container[int] = (signal.SIGINT, signal.SIGTERM)
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
        if sig in self.heeds:
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
        """Say on `/readyz` to ask others, then take nothing new, let end what runs, and end."""
        self._face.leaving = True
        try:
            await asyncio.sleep(self.delay)
            self._face.draining = True
            await self._drained()
        finally:
            self.should_exit = True

    async def _drained(self) -> None:
        """Once nothing is under way any more, or has had its time."""


class Server(Hosting):
    """The server of a runtime, whose runs are given their time."""

    def __init__(self, config: uvicorn.Config, face: Application, runtime: Runtime) -> None:
        super().__init__(config, face)
        self.face = face
        self.runtime = runtime
        self.delay = runtime.settings.drain_delay

    async def _drained(self) -> None:
        grace = self.runtime.settings.shutdown_timeout
        said = f"ending; runs that are under way have {grace:g} s, a second Ctrl+C does not wait"
        telling = asyncio.get_running_loop().call_later(SOON, _say, said)
        try:
            await self.runtime.drain(grace)
        finally:
            telling.cancel()


@asynccontextmanager
async def _bound(
    settings: Settings, opener: Opener, beside: Beside | None, pace: Pace
) -> AsyncGenerator[tuple[Server, socket.socket]]:
    """The server, and the socket of its own that it will listen on."""
    async with _prepared(settings, opener, beside, pace) as server:
        with bound(settings.host, settings.port) as listener:
            yield server, listener


@asynccontextmanager
async def _prepared(
    settings: Settings, opener: Opener, beside: Beside | None, pace: Pace
) -> AsyncGenerator[Server]:
    """A runtime, and the server over it."""
    faces: list[Application] = []

    def closing() -> bool:
        return any(face.closing for face in faces)

    async with opener(settings) as runtime, _opened(beside, runtime, closing) as elsewhere:
        locked = bool(await runtime.store.keys()) or _others_log_in(settings, beside)
        check_bind(settings.host, locked)
        face = app(settings, lambda _: nullcontext(runtime), elsewhere, pace)
        faces.append(face)
        yield Server(_config(face, settings), face, runtime)


def _others_log_in(settings: Settings, beside: Beside | None) -> bool:
    """Whether there are people who come by a login of theirs; the backend then asks for keys."""
    return beside is not None and settings.login != "none"


def _opened(
    beside: Beside | None, runtime: Runtime, closing: Ending
) -> AbstractAsyncContextManager[ASGIApp | None]:
    return nullcontext() if beside is None else beside(runtime, closing)


def _pace(settings: Settings) -> Pace:
    return Pace(patience=settings.send_timeout)


def _config(
    face: ASGIApp, settings: Settings, lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    return uvicorn.Config(
        face,
        http=within(room(settings.max_connections), settings.send_timeout, settings.max_unsent),
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


async def _about(runtime: Runtime, settings: Settings, keyless: str) -> str:
    choice = await runtime.choice()
    locked = bool(await runtime.store.keys())
    return (
        f"antiphon {antiphon.__version__} on {settings.host}:{settings.port}, "
        f"database {masked_value(TABLE['database'], settings.database)}, "
        f"model {choice.model} ({choice.why}), "
        + ("keys: yes" if locked else f"keys: no, so {keyless} only")
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing() -> None:
    """What is done when there is nothing to do."""
