"""The server process: one socket, one runtime, and a graceful shutdown."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
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
from antiphon.server.app import Application, RuntimeOpener, create_app
from antiphon.server.auth import check_bind, has_keys
from antiphon.server.connection import (
    bind_socket,
    connection_class,
    raise_file_limit,
    url_of,
    websocket_class,
)
from antiphon.server.monitoring import SharedMetrics, count_turns, watch_loop
from antiphon.server.streaming import StreamTimeouts
from antiphon.settings.settings import TABLE, Settings, mask_value
from antiphon.telemetry import logs
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import MetricsSnapshot

BACKLOG = 2048
KEEP_ALIVE = 75  # seconds; longer than proxies do, so that they never send on a closed connection
TICK = 0.1  # seconds; uvicorn's own
TICKS_A_DAY = 864_000  # after which uvicorn counts from the start
SOON = 0.5  # seconds after which a waiting shutdown is announced
PUBLISH_INTERVAL = 1.0  # seconds between updates of the metrics for other processes
RESPONSE_GRACE = 5  # seconds for responses in progress after everything else has ended


IsClosing = Callable[[], bool]
"""Returns whether the server is closing, so that idle waits end."""

CompanionOpener = Callable[[Runtime, IsClosing], AbstractAsyncContextManager[ASGIApp]]
"""Opens an application over the same runtime, for all paths that the backend does not serve."""

AppOpener = Callable[[IsClosing], AbstractAsyncContextManager[ASGIApp]]
"""Opens an application without a runtime."""


class WorkerContext(NamedTuple):
    """Resources that the supervisor passes to a worker process.

    The worker calls `ready` with a description once it serves, and shuts down when the other end of
    the pipe `lifeline` is closed, because its supervisor is gone. It publishes its metrics at its
    `place` of `metrics`.
    """

    listener: socket.socket
    lifeline: int
    ready: Callable[[str], None]
    metrics: SharedMetrics
    place: int


def serve(settings: Settings, open_companion: CompanionOpener | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let runs and streams end; a second signal ends at once.

    A description is printed to stderr, and `listening on http://...` once connections are accepted.
    Raises `BadSettings` and `Unavailable` if it cannot start.
    """
    logs.configure_logging(settings)
    _run_loop(_serve(settings, open_companion))


def serve_worker(settings: Settings, context: WorkerContext) -> None:
    """Serve as a worker process until SIGTERM; SIGINT is left to the supervisor."""
    logs.configure_logging(settings)
    _run_loop(_serve_worker(settings, context))


def serve_app(settings: Settings, open_app: AppOpener) -> None:
    """Serve this application alone, with the same limits and shutdown as the backend."""
    logs.configure_logging(settings)
    _run_loop(_serve_app(settings, open_app))


def _run_loop(serving: Coroutine[Any, Any, None]) -> None:
    _share_heap()
    factory = uvicorn.Config(_do_nothing, log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serving)


_M_ARENA_MAX = -8  # of glibc's malloc.h


def _share_heap() -> None:
    """Make later threads use the heap of the first, where the C library is glibc.

    By default each thread gets a heap of its own, which never returns the memory that the thread
    needed once. A shared heap costs little: the interpreter's lock keeps threads from allocating at
    the same time.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library; Windows
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _tune_gc() -> None:
    """Make the garbage collector run less often: it finds next to nothing here.

    With its defaults it takes a tenth of a busy server's time. Objects that exist now live as long
    as the process, and later ones form no cycles.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def run_server(
    settings: Settings,
    opener: RuntimeOpener = open_runtime,
    open_companion: CompanionOpener | None = None,
    timeouts: StreamTimeouts = StreamTimeouts(),  # noqa: B008 - a frozen value
) -> AsyncGenerator[str]:
    """Run a server in this event loop during the block; yields its URL."""
    async with _server_and_socket(settings, opener, open_companion, timeouts) as (server, listener):
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.wait_until_open()
            yield url_of(listener)
        finally:
            server.stop()
            await running


async def _serve(settings: Settings, open_companion: CompanionOpener | None) -> None:
    async with _server_and_socket(
        settings, open_runtime, open_companion, _stream_timeouts(settings)
    ) as (
        server,
        listener,
    ):
        server.when_open = lambda: print_line(f"listening on {url_of(listener)}")
        _tune_gc()
        keyless = "the web chat" if _has_logins(settings, open_companion) else "this machine"
        print_line(await _describe(server.runtime, settings, listener, keyless))
        with watch_loop(settings.watchdog_timeout):
            await server.serve(sockets=[listener])


async def _serve_worker(settings: Settings, context: WorkerContext) -> None:
    loop = asyncio.get_running_loop()
    async with _open_server(settings, open_runtime, None, _stream_timeouts(settings)) as server:
        description = await _describe(server.runtime, settings, context.listener, "this machine")

        def stop_without_supervisor() -> None:
            loop.remove_reader(context.lifeline)
            server.stop()

        def publish_metrics() -> None:
            context.metrics.publish(context.place, server.runtime.metrics.snapshot())

        def read_other_metrics() -> MetricsSnapshot:
            publish_metrics()  # in case this process is killed
            return context.metrics.read_others(context.place)

        loop.add_reader(context.lifeline, stop_without_supervisor)
        server.stop_signals = (signal.SIGTERM,)
        server.when_open = lambda: context.ready(description)
        server.app.other_metrics = read_other_metrics
        hit("serve.before_open")
        _tune_gc()
        publishing = asyncio.create_task(_call_every(PUBLISH_INTERVAL, publish_metrics))
        count = partial(context.metrics.count_turn, context.place)
        counting = asyncio.create_task(count_turns(count, settings.stall_timeout))
        try:
            with watch_loop(settings.watchdog_timeout):
                await server.serve(sockets=[context.listener])
        finally:
            publishing.cancel()
            counting.cancel()
            publish_metrics()


async def _call_every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        act()
        await asyncio.sleep(seconds)


async def _serve_app(settings: Settings, open_app: AppOpener) -> None:
    flags = _ShutdownFlags()
    async with open_app(lambda: flags.closing) as application:
        with bind_socket(settings.host, settings.port) as listener:
            # The application is open already, so there is no lifespan to run.
            server = GracefulServer(_uvicorn_config(application, settings, lifespan="off"), flags)
            server.when_open = lambda: print_line(f"listening on {url_of(listener)}")
            _tune_gc()
            with watch_loop(settings.watchdog_timeout):
                await server.serve(sockets=[listener])


class _Shutdown(Protocol):
    """Flags of an application that the server sets in turn: see `Application`."""

    unready: bool
    draining: bool
    closing: bool


class _ShutdownFlags:
    """Flags of an application that is served alone."""

    def __init__(self) -> None:
        self.unready = False
        self.draining = False
        self.closing = False


class GracefulServer(uvicorn.Server):
    """uvicorn with a graceful shutdown.

    It shuts down on `stop_signals`; for the first `delay` seconds it only reports itself unready.
    """

    delay = 0.0

    def __init__(self, config: uvicorn.Config, application: _Shutdown) -> None:
        super().__init__(config)
        self.when_open: Callable[[], None] = _do_nothing
        self.stop_signals: Container[int] = (signal.SIGINT, signal.SIGTERM)
        self._app = application
        self._open = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._drain: asyncio.Task[None] | None = None

    async def wait_until_open(self) -> None:
        """Wait until connections are accepted."""
        await self._open.wait()

    def stop(self) -> None:
        """Start the shutdown; the second call releases runs and ends streams at once."""
        if self._stopping:
            self.should_exit = True
        self._stopping = True
        self._wake.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and call `when_open`."""
        await super().startup(sockets)
        self._open.set()
        self.when_open()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown on a signal, which is not raised again afterwards."""
        if sig in self.stop_signals:
            self.stop()

    async def main_loop(self) -> None:
        """Tick as uvicorn does, and at once when the shutdown is requested or may go on."""
        for counter in itertools.cycle(range(TICKS_A_DAY)):
            if await self.on_tick(counter):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK)
            self._wake.clear()

    async def on_tick(self, counter: int) -> bool:
        """Start the shutdown task once it was requested; called periodically."""
        if self._stopping and self._drain is None:
            self._drain = asyncio.create_task(self._drain_and_exit())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the socket and the connections."""
        self._app.closing = True
        if self._drain is not None and not self._drain.done():
            self._drain.cancel()
            with suppress(asyncio.CancelledError):
                await self._drain
        await super().shutdown(sockets)

    async def _drain_and_exit(self) -> None:
        """Report unready for `delay` seconds, refuse new work, wait for running work, then exit."""
        self._app.unready = True
        try:
            await asyncio.sleep(self.delay)
            self._app.draining = True
            await self._wait_for_work()
        finally:
            self.should_exit = True
            self._wake.set()

    async def _wait_for_work(self) -> None:
        """Return when no work is left, or its time is over."""


class RuntimeServer(GracefulServer):
    """The server of a runtime, whose runs may finish within `shutdown_timeout`."""

    def __init__(self, config: uvicorn.Config, application: Application, runtime: Runtime) -> None:
        super().__init__(config, application)
        self.app = application
        self.runtime = runtime
        self.delay = runtime.settings.drain_delay

    async def _wait_for_work(self) -> None:
        grace = self.runtime.settings.shutdown_timeout
        notice = f"ending; runs that are under way have {grace:g} s, a second Ctrl+C does not wait"
        timer = asyncio.get_running_loop().call_later(SOON, print_line, notice)
        try:
            await self.runtime.drain(grace)
        finally:
            timer.cancel()


@asynccontextmanager
async def _server_and_socket(
    settings: Settings,
    opener: RuntimeOpener,
    open_companion: CompanionOpener | None,
    timeouts: StreamTimeouts,
) -> AsyncGenerator[tuple[RuntimeServer, socket.socket]]:
    """Yield the server and the socket that it will listen on."""
    async with _open_server(settings, opener, open_companion, timeouts) as server:
        with bind_socket(settings.host, settings.port) as listener:
            yield server, listener


@asynccontextmanager
async def _open_server(
    settings: Settings,
    opener: RuntimeOpener,
    open_companion: CompanionOpener | None,
    timeouts: StreamTimeouts,
) -> AsyncGenerator[RuntimeServer]:
    """Open a runtime, and yield the server over it."""
    application: Application | None = None

    def is_closing() -> bool:
        return application is not None and application.closing

    async with (
        opener(settings) as runtime,
        nullcontext()
        if open_companion is None
        else open_companion(runtime, is_closing) as companion,
    ):
        locked = await has_keys(runtime.store) or _has_logins(settings, open_companion)
        check_bind(settings.host, locked)
        application = create_app(settings, lambda _: nullcontext(runtime), companion, timeouts)
        yield RuntimeServer(_uvicorn_config(application, settings), application, runtime)


def _has_logins(settings: Settings, open_companion: CompanionOpener | None) -> bool:
    """Return whether people log in to the companion, the web chat; the API then needs keys."""
    return open_companion is not None and settings.login != "none"


def _stream_timeouts(settings: Settings) -> StreamTimeouts:
    return StreamTimeouts(patience=settings.send_timeout)


def _uvicorn_config(
    application: ASGIApp, settings: Settings, lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    connection = connection_class(
        raise_file_limit(settings.max_connections), settings.send_timeout, settings.max_unsent
    )
    return uvicorn.Config(
        application,
        http=connection,
        ws=websocket_class(connection) or "none",
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,
        lifespan=lifespan,
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the client is the peer of the connection; headers are not trusted
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=RESPONSE_GRACE,
    )


async def _describe(
    runtime: Runtime, settings: Settings, listener: socket.socket, keyless: str
) -> str:
    port = listener.getsockname()[1]
    choice = await runtime.choice()
    locked = await has_keys(runtime.store)
    return (
        f"antiphon {antiphon.__version__} on {settings.host}:{port}, "
        f"database {mask_value(TABLE['database'], settings.database)}, "
        f"model {choice.model} ({choice.why}), "
        + ("keys: yes" if locked else f"keys: no, so {keyless} only")
    )


def print_line(line: str) -> None:
    """Print a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def _do_nothing() -> None:
    """Do nothing."""
