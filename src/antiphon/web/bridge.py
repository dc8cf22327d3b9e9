"""WSGI-to-ASGI bridge: views run in threads, event streams on the loop.

General bridges do not notice when a client disconnects, or carry one stream at a time. This one
supports just what the web chat needs: a request body that is read before the view runs, and a
response that is complete, awaited, or a stream of events or of the pieces of a file.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from antiphon.api import problems
from antiphon.api.problems import TooSlow
from antiphon.limits.fair_queue import FairQueue
from antiphon.limits.unsent_bytes import PIECE, WRITE, hold_bytes, send_body
from antiphon.telemetry.asgi_spans import trace_request
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.types.errors import AntiphonError, Overloaded, TooLarge
from antiphon.web.guard import API
from antiphon.web.http import problem_headers
from antiphon.web.runs import WriteNow
from antiphon.web.streamed_responses import (
    SILENCE,
    AwaitedBody,
    StreamedBody,
    TypedBody,
    prepend,
)

Receive = Callable[[], Any]

AT_ONCE = 8
"""Bodies of the largest size that are held at once."""
PAUSE = 30.0
"""Seconds without a byte after which a request body is given up."""


class BrowserDisconnected(Exception):
    """The client has disconnected."""


class BodyReader:
    """Reads bodies of at most `largest` bytes, which may pause for `pause` seconds."""

    def __init__(self, largest: int, pause: float = PAUSE) -> None:
        self._largest = largest
        self._pause = pause
        self._room = largest * AT_ONCE

    @asynccontextmanager
    async def read(self, receive: Receive) -> AsyncGenerator[bytes]:
        """Yield the whole body; its memory is accounted for until the context exits.

        Raises `TooLarge`, `TooSlow`, `Overloaded` and `BrowserDisconnected`.
        """
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                piece, more = await _receive_piece(receive, self._pause)
                size += len(piece)
                self._room -= len(piece)
                if size > self._largest:
                    raise TooLarge(
                        "The body is too large.", expected=f"at most {self._largest} bytes"
                    )
                if self._room < 0:
                    raise Overloaded(
                        "Too much is being sent at once.", hint="Try again in a moment."
                    )
                pieces.append(piece)
            yield b"".join(pieces)
        finally:
            self._room += size


async def _receive_piece(receive: Receive, pause: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(pause):
            message = await receive()
    except TimeoutError as error:
        raise TooSlow(
            f"Nothing more of the body came for {pause:g} seconds.", expected="the whole body"
        ) from error
    if message["type"] == "http.disconnect":
        raise BrowserDisconnected
    return message.get("body", b""), message.get("more_body", False)


# From ASGI to WSGI and back (PEP 3333).


Scope = MutableMapping[str, Any]


def wsgi_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the WSGI environment of an ASGI request; `body` is the whole body."""
    host, port = scope.get("server") or ("localhost", 0)
    client = scope.get("client") or ("", 0)
    return {
        **_headers(scope),
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "RAW_URI": quote(scope["path"]),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": client[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


class WsgiResponse:
    """Response of the WSGI application: status and headers, and the complete body."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    @property
    def asgi_start(self) -> dict[str, Any]:
        """The start of the response as an ASGI message."""
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], None]:
        """WSGI's `start_response`."""
        self.status = int(status[:3])
        self.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        return self._write

    def set_body(self, body: bytes | TypedBody) -> None:
        """Set a body that was made after `start_response` was called."""
        if isinstance(body, TypedBody):
            self.headers.append((b"content-type", body.media_type.encode("latin-1")))
            body = body.content
        self.body = body
        self.headers.append((b"content-length", b"%d" % len(body)))

    def _write(self, data: bytes) -> None:
        self.body += data


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        match name:
            case "content-length" | "transfer-encoding":
                continue  # the body was read whole
            case "content-type":
                found["CONTENT_TYPE"] = value
            case _ if "_" in name:
                continue  # WSGI cannot tell it from the one with hyphens
            case _:
                key = "HTTP_" + name.upper().replace("-", "_")
                joined = "; " if name == "cookie" else ","
                found[key] = found[key] + joined + value if key in found else value
    return found


T = TypeVar("T")
Frames = AsyncGenerator[bytes, None]
Send = Callable[[MutableMapping[str, Any]], Any]
Hold = Callable[[int], AbstractContextManager[None]]
"""Counts bytes as waiting for their reader."""

THREADS = 64
"""Calls of the API that run at once; each may wait as long as the backend does.

One address has at most half of these threads, and of those for pages.
"""
PAGE_THREADS = 8
"""Threads for pages and their files, which a slow backend does not block."""

_OF_A_BODY = (b"content-type", b"content-length", b"content-disposition")


class BridgeTimeouts(NamedTuple):
    """Timeouts in seconds.

    A request body may pause for `pause`, and a reader may leave bytes unread for `patience`. A
    stream sends a heartbeat after `silence`, and checks every `blink` if the server is closing.
    """

    pause: float = PAUSE
    patience: float = 30.0
    silence: float = SILENCE
    blink: float = 1.0


DEFAULT_TIMEOUTS = BridgeTimeouts()


def peer(scope: Scope) -> str:
    """Return the address that is connected, "" where there is none."""
    address, _ = scope.get("client") or ("", 0)
    return str(address)


class Bridge:
    """The WSGI application as ASGI; `largest` is the most bytes of a request's body.

    `closing` is called while no frame is written: streams end when the server does, and readers
    reconnect. `caller` returns the address for which unread bytes are counted.
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        largest: int,
        closing: Callable[[], bool] = lambda: False,
        timeouts: BridgeTimeouts = DEFAULT_TIMEOUTS,
        tracer: Tracer = NO_TRACES,
        caller: Callable[[Scope], str] = peer,
    ) -> None:
        self._application = application
        self._caller = caller
        self._timeouts = timeouts
        self._bodies = BodyReader(largest, timeouts.pause)
        self._closing = closing
        self._tracer = tracer
        self._threads = _ThreadPool(THREADS, "antiphon-web")
        self._page_threads = _ThreadPool(PAGE_THREADS, "antiphon-page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if self._tracer is not NO_TRACES and scope["path"].startswith(API):
            await trace_request(self._tracer, self._answer, scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response, caller = WsgiResponse(), self._caller(scope)
        hold = partial(hold_bytes, scope, caller)
        writer = _StreamWriter(scope, send, self._timeouts, hold)
        frames: Frames | None = None
        heartbeat = b""
        try:
            async with self._bodies.read(receive) as body:
                threads = self._threads if scope["path"].startswith(API) else self._page_threads
                call = partial(self._call, wsgi_environ(scope, body), response)
                result = await threads.run(caller, call)
            match result:
                case AwaitedBody():
                    response.set_body(await _run_while_connected(receive, result.make()))
                case StreamedBody(heartbeat=b""):
                    frames = await _read_first_piece(receive, result.source(None))
                case StreamedBody():
                    frames, heartbeat = result.source(writer.write_now), result.heartbeat
                case None:
                    pass
        except BrowserDisconnected:
            return
        except AntiphonError as problem:
            await _send_problem(send, problem, response.headers)
            return
        if frames is None:
            await _send_whole(scope, caller, response, send)
            return
        await send(response.asgi_start)
        # The reader takes nothing or is gone, or too many bytes wait for readers.
        with suppress(TimeoutError, OSError, Overloaded):
            await self._pump(frames, heartbeat, receive, writer)

    def close(self) -> None:
        """Start no more views."""
        self._threads.close()
        self._page_threads.close()

    def _call(
        self, environ: dict[str, Any], response: WsgiResponse
    ) -> AwaitedBody | StreamedBody | None:
        """Call the application; return the body if it is not complete yet."""
        result = self._application(environ, response.start_response)
        if isinstance(result, AwaitedBody | StreamedBody):
            return result
        try:
            response.body = b"".join(result)
        finally:
            if close := getattr(result, "close", None):
                close()
        return None

    async def _pump(
        self, frames: Frames, heartbeat: bytes, receive: Receive, writer: _StreamWriter
    ) -> None:
        """Send the frames as they come, with heartbeats, until they end or the client is gone."""
        writing = asyncio.ensure_future(writer.write_all(frames))
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            while True:
                soon = min(writer.due or self._timeouts.blink, self._timeouts.blink)
                await asyncio.wait(
                    {writing, disconnected}, timeout=soon, return_when=FIRST_COMPLETED
                )
                if writing.done():
                    return writing.result()
                if disconnected.done() or writer.stuck:
                    return None
                last = bool(heartbeat) and self._closing() and not writer.writes
                if last:  # nothing may be written after it
                    writing.cancel()
                    await asyncio.wait([writing])
                if last or (heartbeat and writer.silent):
                    async with asyncio.timeout(self._timeouts.patience):
                        await writer.write(heartbeat, more=not last)
                if last:
                    return None
        finally:
            disconnected.cancel()
            writing.cancel()
            await asyncio.wait([writing])
            await frames.aclose()


class _ThreadPool:
    """Threads in which views run; one caller has at most half of them."""

    def __init__(self, most: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(most, name)
        self._queue = FairQueue(most, most // 2)

    async def run(self, caller: str, work: Callable[[], T]) -> T:
        """Run the work in a thread. Raises `Overloaded` if none gets free in time."""
        context = copy_context()  # keeps the request's span as parent of the view's
        async with self._queue.slot(caller):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, context.run, work)

    def close(self) -> None:
        """Start no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _StreamWriter:
    """Writes a stream to one reader, and knows for how long nothing has moved."""

    def __init__(self, scope: Scope, send: Send, timeouts: BridgeTimeouts, hold: Hold) -> None:
        self.writes = False
        self._now: WriteNow | None = scope.get("extensions", {}).get(WRITE, {}).get("now")
        self._hold = hold
        self._send = send
        self._timeouts = timeouts
        self._since = time.monotonic()

    @property
    def due(self) -> float:
        """Seconds until it is silent or stuck, unless something moves."""
        return max(0.0, self._since + self._patience - time.monotonic())

    @property
    def silent(self) -> bool:
        """True if nothing was written for so long that a heartbeat is due."""
        return not self.writes and not self.due

    @property
    def stuck(self) -> bool:
        """True if the reader has taken nothing for too long."""
        return self.writes and not self.due

    async def write_all(self, frames: AsyncGenerator[bytes, None]) -> None:
        """Write all frames and end the body."""
        async for frame in frames:
            if frame:
                await self.write(frame)
        await self.write(b"", more=False)

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Write these bytes; waits while the reader has too many unread."""
        self.writes = True
        with self._hold(len(body)):
            for start in range(0, len(body) or 1, PIECE):
                self._since = time.monotonic()
                piece, more_body = body[start : start + PIECE], more or start + PIECE < len(body)
                await self._send(
                    {"type": "http.response.body", "body": piece, "more_body": more_body}
                )
        self.writes, self._since = False, time.monotonic()

    @property
    def write_now(self) -> WriteNow | None:
        """Writes bytes that need not wait for the reader; None if the server cannot do that."""
        return self._write_at_once if self._now else None

    def _write_at_once(self, make: Callable[[], bytes]) -> bool:
        if self.writes or self._now is None or not self._now(make):
            return False
        self._since = time.monotonic()
        return True

    @property
    def _patience(self) -> float:
        return self._timeouts.patience if self.writes else self._timeouts.silence


async def _send_whole(scope: Scope, caller: str, response: WsgiResponse, send: Send) -> None:
    try:
        with hold_bytes(scope, caller, len(response.body)):
            await send(response.asgi_start)
            await send_body(send, response.body)
    except Overloaded as problem:
        await _send_problem(send, problem)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _run_while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects.

    Raises `BrowserDisconnected`.
    """
    disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({disconnected, task}, return_when=FIRST_COMPLETED)
        if not task.done():
            raise BrowserDisconnected
        return task.result()
    finally:
        disconnected.cancel()
        task.cancel()
        await asyncio.wait([disconnected, task])


async def _read_first_piece(receive: Receive, pieces: Frames) -> Frames:
    """Wait for the first piece, and return all pieces. Raises `BrowserDisconnected`."""

    async def read() -> bytes:
        return await anext(pieces, b"")

    try:
        first = await _run_while_connected(receive, read())
    except BaseException:
        await pieces.aclose()
        raise
    return prepend(first, pieces)


async def _send_problem(
    send: Send, problem: AntiphonError, begun: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send a problem document and close the connection: the request's body may be unread.

    Headers of the started response stay, except those of its body.
    """
    status, _ = problems.status_and_title(problem)
    body = problems.problem_document(problem)
    headers = [
        (b"content-type", problems.MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *problem_headers(problem),
        *(each for each in begun if each[0] not in _OF_A_BODY),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
