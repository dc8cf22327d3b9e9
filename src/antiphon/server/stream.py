"""A run's log as server-sent events, resumable by Last-Event-ID.

The connection carries the log and nothing of the run: a reader who leaves, is too slow or loses its
key loses the connection, and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Protocol, cast

import msgspec
from starlette.types import Receive, Scope, Send

from antiphon import sse
from antiphon.errors import AntiphonError
from antiphon.events import type_of
from antiphon.server.exchange import Exchange
from antiphon.server.metrics import Metrics

SILENCE = 9.0  # seconds until a comment; with pages every second no gap is above 10
PATIENCE = 30.0  # seconds that a reader may let our bytes lie
RECHECK = 2.0  # seconds between two looks at the key; with what `access` remembers, below 5
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


class Pages(Protocol):
    """What is read aloud: pages of encoded events, and an empty one after each silent second."""

    def pages(self) -> AsyncIterator[_Page]:
        """Each page with the number of its first event."""
        ...


class Welcome(msgspec.Struct, frozen=True):
    """How long a reader may stay.

    `closing` is asked when there is nothing to send, so that a run's last words go out; `stands`
    every few seconds.
    """

    closing: Callable[[], bool]
    stands: Callable[[], Awaitable[bool]]


async def tell(exchange: Exchange, listening: Pages, welcome: Welcome, metrics: Metrics) -> None:
    """Send the pages until they end, the reader has left, or it is not welcome any more.

    An end without `turn.ended` tells the reader to come back, which gets it a proper answer.
    """
    send = exchange.send
    async with _departure(exchange.receive) as left:
        with metrics.stream():
            try:
                await _start(send)
                try:
                    await _read_aloud(exchange, listening, welcome, metrics, left)
                except AntiphonError as error:
                    _log.warning("a stream ends early: %s", error.code)
                if not left.done():
                    await _pass(send, b"", more=False)
            except TimeoutError:
                await _cut(exchange.scope, left)


async def _read_aloud(
    exchange: Exchange,
    listening: Pages,
    welcome: Welcome,
    metrics: Metrics,
    left: asyncio.Task[None],
) -> None:
    # `pages` is an async generator, and is to be closed now and not when it is collected.
    pages = cast("AsyncGenerator[_Page, None]", listening.pages())
    checked = said = exchange.began
    waiting = True
    async with aclosing(pages):
        async for first, lines in pages:
            if left.done():
                return
            now = time.monotonic()
            if now - checked >= RECHECK:
                if not await welcome.stands():
                    return
                checked = now
            if lines:
                await _say(exchange.send, first, lines, metrics)
                if waiting:
                    metrics.first(time.monotonic() - exchange.began)
                    waiting = False
                said = now
            elif welcome.closing():
                return
            elif now - said >= SILENCE:
                await _pass(exchange.send, _ALIVE)
                said = now


async def _say(send: Send, first: int, lines: Sequence[bytes], metrics: Metrics) -> None:
    for start in range(0, len(lines), EVENTS_AT_ONCE):
        some = lines[start : start + EVENTS_AT_ONCE]
        types = [type_of(line) for line in some]
        numbers = range(first + start, first + start + len(some))
        await _pass(send, b"".join(map(sse.frame, numbers, types, some)))
        metrics.sent(types)


async def _start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})


async def _pass(send: Send, body: bytes, *, more: bool = True) -> None:
    """Hand bytes to the connection. Raises `TimeoutError` where its reader does not take them."""
    async with asyncio.timeout(PATIENCE):
        await send({"type": "http.response.body", "body": body, "more_body": more})


@asynccontextmanager
async def _departure(receive: Receive) -> AsyncGenerator[asyncio.Task[None]]:
    """A task that is done when the reader has left."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.create_task(watch())
    try:
        yield watching
    finally:
        watching.cancel()


async def _cut(scope: Scope, left: asyncio.Task[None]) -> None:
    """Drop the connection: closing it in order would wait for the reader who does not read."""
    cut = scope.get("extensions", {}).get(CUT)
    if cut is not None:
        cut["now"]()
        await left
