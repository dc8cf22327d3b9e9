"""A WSGI application on our own server: views in threads, event streams on the loop.

General bridges never notice that a reader has left, or carry one stream at a time. This one needs
no more than our application does: a body that is read before the view is called, an answer that is
whole, or one that is a stream of events.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from antiphon import problems
from antiphon.errors import AntiphonError
from antiphon.web.bodies import Bodies, Left, Receive
from antiphon.web.checks import API
from antiphon.web.event_stream import ROOM, SILENCE, Frames
from antiphon.wires.framing import HEARTBEAT

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Any]

PATIENCE = 30.0
"""Seconds that a reader may let bytes lie before the stream is dropped."""
BLINK = 1.0
"""Seconds after which a silent stream looks whether the server is about to end."""
THREADS = 64
"""Calls of our API that are answered at once; one may wait as long as the backend does."""
PAGE_THREADS = 8
"""Pages and what belongs to them: a backend that does not answer does not keep these waiting."""


class Bridge:
    """The application as ASGI; `largest` is the most bytes of a request's body.

    `closing` is asked when a stream is silent: streams end with the server, and readers come back.
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        largest: int,
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._application = application
        self._bodies = Bodies(largest)
        self._closing = closing
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="antiphon-web")
        self._page_threads = ThreadPoolExecutor(PAGE_THREADS, thread_name_prefix="antiphon-page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        room: list[Frames] = []
        try:
            async with self._bodies.read(receive) as body:
                environ = _environ(scope, body) | {ROOM: room}
                answer = await self._answered(scope["path"], environ)
        except Left:
            return
        except AntiphonError as problem:
            await _refuse(send, problem)
            return
        await send(answer.start)
        if not room:
            await send({"type": "http.response.body", "body": answer.body})
            return
        with suppress(TimeoutError, OSError):  # a reader who takes nothing, or is gone
            await self._pump(room[0](), receive, send)

    def close(self) -> None:
        """Wait for the views that run."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._page_threads.shutdown(wait=False, cancel_futures=True)

    async def _answered(self, path: str, environ: dict[str, Any]) -> _Answer:
        threads = self._threads if path.startswith(API) else self._page_threads
        return await asyncio.get_running_loop().run_in_executor(threads, self._called, environ)

    def _called(self, environ: dict[str, Any]) -> _Answer:
        answer = _Answer()
        result = self._application(environ, answer.begin)
        try:
            answer.body = b"".join(result)
        finally:
            if close := getattr(result, "close", None):
                close()
        return answer

    async def _pump(
        self, frames: AsyncGenerator[bytes, None], receive: Receive, send: Send
    ) -> None:
        """Send the frames as they come, and look up only when nothing moves."""
        line = _Line(send)
        telling = asyncio.ensure_future(line.tell(frames))
        left = asyncio.ensure_future(_left(receive))
        try:
            while True:
                # A write may begin, and get stuck, while silence is waited for.
                soon = min(line.due, PATIENCE)
                await asyncio.wait({telling, left}, timeout=soon, return_when=FIRST_COMPLETED)
                if telling.done():
                    return telling.result()
                if left.done() or line.stuck:
                    return None
                if line.silent:
                    last = self._closing()
                    async with asyncio.timeout(PATIENCE):
                        await line.write(HEARTBEAT, more=not last)
                    if last:
                        return None
        finally:
            left.cancel()
            telling.cancel()
            await asyncio.wait([telling])
            await frames.aclose()


class _Line:
    """What goes out to one reader: since when it is silent, or does not get rid of what it has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._writes = False
        self._since = time.monotonic()

    @property
    def due(self) -> float:
        """Seconds after which it is silent or stuck, unless something moves."""
        return max(0.0, self._since + self._patience - time.monotonic())

    @property
    def silent(self) -> bool:
        """Whether the reader may wonder if anybody is there."""
        return not self._writes and not self.due

    @property
    def stuck(self) -> bool:
        """Whether the reader takes nothing."""
        return self._writes and not self.due

    async def tell(self, frames: AsyncGenerator[bytes, None]) -> None:
        """All frames, and the end."""
        async for frame in frames:
            if frame:
                await self.write(frame)
        await self.write(b"", more=False)

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Hand over these bytes; waits while the reader has too many."""
        self._writes, self._since = True, time.monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._writes, self._since = False, time.monotonic()

    @property
    def _patience(self) -> float:
        return PATIENCE if self._writes else SILENCE


class _Answer:
    """What the application answers: the beginning by WSGI's call, the body whole."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.body = b""

    def begin(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], None]:
        self.start = {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": [
                (name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in headers
            ],
        }
        return self._write

    def _write(self, data: bytes) -> None:
        self.body += data


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, problem: AntiphonError) -> None:
    """Of a body that was not read to its end nobody reads the rest."""
    status, _ = problems.placed(problem)
    body = problems.document(problem)
    headers = [
        (b"content-type", problems.MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *problems.headers(problem),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The request in WSGI's words (PEP 3333)."""
    host, port = scope.get("server") or ("localhost", 0)
    client = scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
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
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        match name:
            case "content-length" | "transfer-encoding":
                continue  # the body is whole by now
            case "content-type":
                environ["CONTENT_TYPE"] = value
            case _ if "_" in name:
                continue  # it would be taken for the one with hyphens
            case _:
                key = "HTTP_" + name.upper().replace("-", "_")
                joined = "; " if name == "cookie" else ","
                environ[key] = environ[key] + joined + value if key in environ else value
    return environ
