"""A run's log as server-sent events, resumable by Last-Event-ID.

The connection carries the log and nothing of the run: a reader who leaves, is too slow or loses its
key loses the connection, and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Protocol, cast

import msgspec
from starlette.types import Scope

from antiphon.limits.send_budget import PIECE
from antiphon.server.request_context import RequestContext, watch_disconnect
from antiphon.telemetry.metrics import FIRST_EVENT, Metrics
from antiphon.types.errors import AntiphonError, TryAgain
from antiphon.types.events import type_of
from antiphon.wires import sse

EVENTS_AT_ONCE = 256  # framed and sent together: bounds what lies in memory for a slow reader

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]

CUT = "antiphon.cut"
"""The ASGI extension by which a connection is dropped without waiting for its reader."""

_log = logging.getLogger("antiphon.server")
_ALIVE = sse.comment("")
_Page = tuple[int, Sequence[bytes]]


class StreamTimeouts(msgspec.Struct, frozen=True):
    """The times of a stream, in seconds.

    A comment follows `silence`; with pages every second no gap is above 10. Bytes that a reader
    lets lie for `patience` end the stream. The key is looked at every `recheck`; with what `access`
    remembers that is below 5.
    """

    silence: float = 9.0
    patience: float = 30.0
    recheck: float = 2.0


class EventPages(Protocol):
    """What is read aloud: pages of encoded events, and an empty one after each silent second."""

    run_id: str

    def pages(self) -> AsyncGenerator[_Page, None]:
        """Each page with the number of its first event."""
        ...


class SessionCheck(msgspec.Struct, frozen=True):
    """How long a reader may stay.

    `closing` is asked when there is nothing to send, so that a run's last words go out; `is_valid`
    every few seconds.
    """

    closing: Callable[[], bool]
    is_valid: Callable[[], Awaitable[bool]]


async def send_events(
    exchange: RequestContext,
    listening: EventPages,
    welcome: SessionCheck,
    metrics: Metrics,
    pace: StreamTimeouts = StreamTimeouts(),  # noqa: B008 - a frozen value
) -> None:
    """Send the pages until they end, the reader has left, or it is not welcome any more.

    An end without `turn.ended` tells the reader to come back, which gets it a proper answer.
    """
    async with watch_disconnect(exchange.receive) as left:
        telling = _EventStreamSender(exchange, listening.run_id, welcome, metrics, pace, left)
        with metrics.count_open_stream(), telling.cut_off_slow_reader():
            await telling.send_headers()
            await _run_in_task(telling.send_pages(listening))
            await telling.send_end()


async def _run_in_task(work: Coroutine[Any, Any, None]) -> None:
    """Do the work in a task of its own.

    Each event wakes it, and a wake-up climbs through all that awaits: here that is a dozen frames.
    """
    task = asyncio.create_task(work)
    try:
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


class _StreamEnded(Exception):
    """The reader is to be told no more."""


class _EventStreamSender:
    """One reader being told: what it was sent, and when it was last looked at."""

    def __init__(
        self,
        exchange: RequestContext,
        run_id: str,
        welcome: SessionCheck,
        metrics: Metrics,
        pace: StreamTimeouts,
        left: asyncio.Task[None],
    ) -> None:
        self._scope = exchange.scope
        self._held = exchange.hold_bytes
        self._send = exchange.send
        self._run_id = run_id
        self._handing: float | None = None
        self._began = self._checked = self._said = exchange.began
        self._welcome = welcome
        self._metrics = metrics
        self._pace = pace
        self._left = left
        self._waiting = True

    @contextmanager
    def cut_off_slow_reader(self) -> Generator[None]:
        """Look now and then whether the reader takes what it is handed, and cut it off if not.

        One timer a stream: a timeout around each send costs more than all else for an event.
        """
        cut = connection_aborter(self._scope)
        later = partial(asyncio.get_running_loop().call_later, self._pace.patience / 4)
        timer: list[asyncio.TimerHandle] = []

        def look() -> None:
            if self._handing and time.monotonic() - self._handing >= self._pace.patience:
                cut()
            else:
                timer[:] = [later(look)]

        timer.append(later(look))
        try:
            yield
        finally:
            timer[0].cancel()

    async def send_headers(self) -> None:
        """The header, before there is anything to tell."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})

    async def send_pages(self, listening: EventPages) -> None:
        """Page for page, until there is an end to it."""
        async with aclosing(listening.pages()) as pages:
            try:
                async for first, lines in pages:
                    if (size := sum(map(len, lines))) > PIECE:
                        with self._held(size):
                            await self._send_events(first, lines)
                    else:
                        await (self._send_events(first, lines) if lines else self._on_silence())
            except _StreamEnded:
                pass
            except AntiphonError as error:
                _log.warning("a stream ends early: %s", error.code)

    async def send_end(self) -> None:
        """The end of the answer, for a reader who is still there."""
        if not self._left.done():
            await self._send_body(b"", more=False)

    async def _send_events(self, first: int, lines: Sequence[bytes]) -> None:
        for start in range(0, len(lines), EVENTS_AT_ONCE):
            now = time.monotonic()
            if self._left.done() or now - self._checked >= self._pace.recheck:
                await self._check_session()
            some = lines[start : start + EVENTS_AT_ONCE]
            types = [type_of(line) for line in some]
            numbers = range(first + start, first + start + len(some))
            self._handing = now
            body = b"".join(map(sse.frame, numbers, types, some))
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self._said = now
            self._handing = None
            last, follows = numbers[-1], not self._waiting
            self._metrics.record_sent(self._run_id, last, types, follows=follows)
        if self._waiting:
            self._metrics.observe(FIRST_EVENT, time.monotonic() - self._began)
            self._waiting = False

    async def _on_silence(self) -> None:
        await self._check_session()
        if self._welcome.closing():
            raise _StreamEnded
        if time.monotonic() - self._said >= self._pace.silence:
            await self._send_body(_ALIVE)

    async def _check_session(self) -> None:
        """Raises `_StreamEnded` when the reader has left, or is not welcome any more."""
        if self._left.done():
            raise _StreamEnded
        now = time.monotonic()
        if now - self._checked >= self._pace.recheck:
            try:
                stands = await self._welcome.is_valid()
            except TryAgain:
                return  # a database that is away tells nothing new either; it is asked again soon
            if not stands:
                raise _StreamEnded
            self._checked = now

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        """Hand bytes on; waits while the reader does not take what it was handed before."""
        self._handing = time.monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._said = self._handing
        self._handing = None


def connection_aborter(scope: Scope) -> Callable[[], object]:
    """Drops the connection: closing it in order would wait for the reader who does not read."""
    cut: Callable[[], object] | None = scope.get("extensions", {}).get(CUT, {}).get("now")
    if cut is not None:
        return cut
    # Another server than ours: to end this task is all that is left.
    return cast("asyncio.Task[None]", asyncio.current_task()).cancel
