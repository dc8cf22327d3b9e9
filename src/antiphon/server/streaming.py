"""Send a run's event log as server-sent events, resumable by Last-Event-ID.

The connection only carries the log: a client that leaves, is too slow or loses its key loses the
connection, and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Protocol, cast

import msgspec
from starlette.types import Scope

from antiphon.limits.unsent_bytes import PIECE, WRITE
from antiphon.server.requests import Field, RequestContext, watch_disconnect
from antiphon.telemetry.metrics import FIRST_EVENT, Metrics
from antiphon.types.errors import AntiphonError, TryAgain
from antiphon.types.events import type_of
from antiphon.wires import sse

EVENTS_AT_ONCE = 256  # sent together: bounds the memory for a slow client
EVENTS_PAUSE = 0.9  # seconds without an event after which a stream of a closing process may end

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]

ABORT = "antiphon.abort"
"""ASGI extension that aborts a connection without waiting for the client."""

_log = logging.getLogger("antiphon.server")
_ALIVE = sse.comment("")
_Page = tuple[int, Sequence[bytes]]


class StreamTimeouts(msgspec.Struct, frozen=True):
    """Timeouts of a stream, in seconds.

    A comment is sent after `silence`; as pages come every second, no gap exceeds 10. The stream is
    cut off if the client does not read for `patience`. The key is checked every `recheck`; with
    the cache of `auth`, a revocation applies within 5. A WebSocket is closed after `lifetime`, once
    no response is in progress.
    """

    silence: float = 9.0
    patience: float = 30.0
    recheck: float = 2.0
    lifetime: float = 3600.0


class EventPages(Protocol):
    """Source of pages of encoded events, with an empty page after each second without events."""

    run_id: str

    def pages(
        self, send_now: Callable[[int, Sequence[bytes]], bool] | None = None
    ) -> AsyncGenerator[_Page, None]:
        """Yield each page with the number of its first event.

        Pages that `send_now` sends are not yielded; it returns False if it cannot.
        """
        ...


class EventEncoder(Protocol):
    """Encodes a run's log for one connection, in the protocol that its client speaks."""

    headers: Sequence[Field]

    def encode(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Return the frames of these events, numbered from `first`; there may be none."""
        ...

    def close(self) -> bytes:
        """Return the frames that end the stream, whether or not the log has ended."""
        ...


class LogEncoder:
    """Encodes the log as it is: each event with its number and its type."""

    headers: Sequence[Field] = HEADERS

    def encode(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Return a frame for each event."""
        numbers = range(first, first + len(lines))
        return b"".join(map(sse.frame, numbers, map(type_of, lines), lines))

    def close(self) -> bytes:
        """Return nothing: `turn.ended` and the run's status tell the end."""
        return b""


class SessionCheck(msgspec.Struct, frozen=True):
    """Conditions under which a stream goes on.

    `closing` is called only when there is nothing to send, so that the last events are sent;
    `is_valid` every few seconds.
    """

    closing: Callable[[], bool]
    is_valid: Callable[[], Awaitable[bool]]


async def send_events(
    context: RequestContext,
    reader: EventPages,
    session: SessionCheck,
    metrics: Metrics,
    timeouts: StreamTimeouts = StreamTimeouts(),  # noqa: B008 - a frozen value
    encoder: EventEncoder | None = None,
) -> None:
    """Send the pages until they end, the client has disconnected, or its access has ended.

    An end without `turn.ended` makes the client reconnect, and so receive the proper error.
    """
    async with watch_disconnect(context.receive) as disconnected:
        sender = _EventStreamSender(
            context,
            reader.run_id,
            session,
            metrics,
            timeouts,
            disconnected,
            encoder or LogEncoder(),
        )
        with metrics.count_open_stream(), sender.cut_off_slow_reader():
            await sender.send_headers()
            await sender.send_pages(reader)
            await sender.send_end()


class _StreamEnded(Exception):
    """The stream ends without further events."""


class _EventStreamSender:
    """Sends one stream, and checks its client and its session."""

    def __init__(
        self,
        context: RequestContext,
        run_id: str,
        session: SessionCheck,
        metrics: Metrics,
        timeouts: StreamTimeouts,
        disconnected: asyncio.Task[None],
        encoder: EventEncoder,
    ) -> None:
        self._encoder = encoder
        self._abort = connection_aborter(context.scope)
        self._hold_bytes = context.hold_bytes
        self._send = context.send
        self._write: Callable[[Callable[[], bytes]], bool] | None = (
            context.scope.get("extensions", {}).get(WRITE, {}).get("now")
        )
        self._run_id = run_id
        self._sending_since: float | None = None
        self._began_at = self._checked_at = self._sent_at = context.began
        self._session = session
        self._metrics = metrics
        self._timeouts = timeouts
        self._disconnected = disconnected
        self._is_first = True

    @contextmanager
    def cut_off_slow_reader(self) -> Generator[None]:
        """Abort the connection during the block if the client stops reading.

        One timer per stream: a timeout around each send would cost more than the event itself.
        """
        self._schedule_check()
        try:
            yield
        finally:
            self._timer.cancel()

    def _schedule_check(self) -> None:
        later = asyncio.get_running_loop().call_later
        self._timer = later(self._timeouts.patience / 4, self._check_reader)

    def _check_reader(self) -> None:
        since = self._sending_since
        if since and time.monotonic() - since >= self._timeouts.patience:
            self._abort()
        else:
            self._schedule_check()

    async def send_headers(self) -> None:
        """Send the response's headers."""
        headers = self._encoder.headers
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_pages(self, reader: EventPages) -> None:
        """Send the pages until they end or the stream has to end."""
        send_now = None if self._write is None else self._send_now
        async with aclosing(reader.pages(send_now)) as pages:
            try:
                async for first, lines in pages:
                    if (size := sum(map(len, lines))) > PIECE:
                        with self._hold_bytes(size):
                            await self._send_events(first, lines)
                    else:
                        await (self._send_events(first, lines) if lines else self._on_silence())
            except _StreamEnded:
                pass
            except AntiphonError as error:
                _log.warning("a stream ends early: %s", error.code)

    async def send_end(self) -> None:
        """End the response if the client is still connected."""
        if not self._disconnected.done():
            await self._send_body(self._encoder.close(), more=False)

    async def _send_events(self, first: int, lines: Sequence[bytes]) -> None:
        for start in range(0, len(lines), EVENTS_AT_ONCE):
            now = time.monotonic()
            if self._disconnected.done() or now - self._checked_at >= self._timeouts.recheck:
                await self._check_session()
            some = lines[start : start + EVENTS_AT_ONCE]
            if body := self._encoder.encode(first + start, some):
                self._sending_since = now
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
                self._sending_since = None
            self._record_sent(first + start + len(some) - 1, some, now)
        if self._is_first:
            self._metrics.observe(FIRST_EVENT, time.monotonic() - self._began_at)
            self._is_first = False

    def _send_now(self, first: int, lines: Sequence[bytes]) -> bool:
        """Send events without waking a task; return False where `_send_events` must."""
        now = time.monotonic()
        if (
            self._write is None
            or self._is_first
            or self._disconnected.done()
            or now - self._checked_at >= self._timeouts.recheck
            or len(lines) > EVENTS_AT_ONCE
            or sum(map(len, lines)) > PIECE
        ):
            return False
        if not self._write(partial(self._encoder.encode, first, lines)):
            return False
        self._record_sent(first + len(lines) - 1, lines, now)
        return True

    def _record_sent(self, last: int, lines: Sequence[bytes], now: float) -> None:
        self._sent_at = now
        types = [type_of(line) for line in lines]
        self._metrics.record_sent(self._run_id, last, types, follows=not self._is_first)

    async def _on_silence(self) -> None:
        await self._check_session()
        silence = time.monotonic() - self._sent_at
        if silence >= EVENTS_PAUSE and self._session.closing():
            raise _StreamEnded
        if silence >= self._timeouts.silence:
            await self._send_body(_ALIVE)

    async def _check_session(self) -> None:
        """Raise `_StreamEnded` if the client has disconnected or its access has ended."""
        if self._disconnected.done():
            raise _StreamEnded
        now = time.monotonic()
        if now - self._checked_at >= self._timeouts.recheck:
            try:
                valid = await self._session.is_valid()
            except TryAgain:
                return  # the database is away, so there are no new events either; check again soon
            if not valid:
                raise _StreamEnded
            self._checked_at = now

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        """Send bytes; waits while the client has not read the previous ones."""
        self._sending_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._sent_at = self._sending_since
        self._sending_since = None


def connection_aborter(scope: Scope) -> Callable[[], object]:
    """Return a function that aborts the connection; closing it would wait for the client."""
    abort: Callable[[], object] | None = scope.get("extensions", {}).get(ABORT, {}).get("now")
    if abort is not None:
        return abort
    # Under another ASGI server, only cancelling this task remains.
    return cast("asyncio.Task[None]", asyncio.current_task()).cancel
