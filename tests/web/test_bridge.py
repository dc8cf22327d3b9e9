"""A WSGI application on Antiphon's own server: nothing is lost on the way, and the server does not
wait for a reader who has left.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from flask import Flask, Response, request

from antiphon.limits.unsent_bytes import PIECE, UNSENT, WRITE, UnsentBytes
from antiphon.types.errors import ConnectionLost, NotFound
from antiphon.web.bridge import AT_ONCE, THREADS, Bridge, BridgeTimeouts
from antiphon.web.runs import WriteNow
from antiphon.web.streamed_responses import (
    JSON,
    AwaitedResponse,
    EventStream,
    FileStream,
    StreamedBody,
)
from antiphon.wires.framing import HEARTBEAT

SECONDS = 60


class Wire:
    """One request to an ASGI application, and its response."""

    def __init__(self, app: Bridge) -> None:
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    def ask(
        self,
        path: str,
        *pieces: bytes,
        method: str = "GET",
        headers: list[tuple[bytes, bytes]] = [],  # noqa: B006 - never changed
        query: bytes = b"",
        ends: bool = True,
        extensions: dict[str, Any] = {},  # noqa: B006 - never changed
        peer: str = "127.0.0.1",
    ) -> Wire:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": headers,
            "client": (peer, 5),
            "server": ("127.0.0.1", 80),
            "extensions": extensions,
        }
        for place, piece in enumerate(pieces or (b"",), 1):
            more = place < len(pieces) or not ends
            self._to_app.put_nowait({"type": "http.request", "body": piece, "more_body": more})
        self.task = asyncio.create_task(
            self._app(scope, self._to_app.get, self._from_app.put)  # type: ignore[arg-type]
        )
        return self

    def leave(self) -> None:
        self._to_app.put_nowait({"type": "http.disconnect"})

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            return await self._from_app.get()

    async def read_response(self) -> tuple[int, dict[bytes, bytes], bytes]:
        start = await self.next()
        body = b""
        while True:
            message = await self.next()
            body += message["body"]
            if not message.get("more_body"):
                return start["status"], dict(start["headers"]), body


@pytest.fixture
async def app() -> Flask:
    app = Flask("bridged")
    loop = asyncio.get_running_loop()
    app.has_ended = asyncio.Event()  # type: ignore[attr-defined]
    app.release = asyncio.Event()  # type: ignore[attr-defined]

    @app.post("/echo")
    def echo() -> Response:
        answer = Response(request.get_data(), headers={"X-Query": request.query_string.decode()})
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        return answer

    app.unstuck = threading.Event()  # type: ignore[attr-defined]

    @app.get("/api/stuck")
    def stuck() -> str:
        app.unstuck.wait(SECONDS)  # type: ignore[attr-defined]
        return "at last"

    @app.get("/api/quick")
    def quick() -> str:
        return "quick"

    app.has_begun = asyncio.Event()  # type: ignore[attr-defined]

    async def body() -> bytes:
        try:
            app.has_begun.set()  # type: ignore[attr-defined]
            await app.release.wait()  # type: ignore[attr-defined]
        finally:
            app.has_ended.set()  # type: ignore[attr-defined]
        return b"[]"

    async def no_body() -> bytes:
        raise NotFound("It was deleted.")

    @app.get("/awaited")
    def awaited() -> Response:
        return AwaitedResponse(body, JSON)

    @app.get("/awaited/nothing")
    def awaited_nothing() -> Response:
        answer = AwaitedResponse(no_body, JSON)
        answer.headers["X-Beside"] = "1"
        return answer

    async def no_pieces() -> AsyncGenerator[bytes]:
        raise NotFound("It was deleted.")
        yield b""

    @app.get("/nothing")
    def nothing() -> Response:
        headers = {"x-beside": "1", "content-disposition": "attachment", "content-length": "5"}
        return FileStream(no_pieces, loop, headers)

    @app.get("/page")
    def page() -> str:
        return "page"

    @app.get("/large")
    def large() -> Response:
        return Response(bytes(PIECE * 3 + 1), mimetype="application/octet-stream")

    @app.get("/headers")
    def headers() -> dict[str, str]:
        return dict(request.headers)

    async def frames() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            await app.release.wait()  # type: ignore[attr-defined]
            yield b"data: 2\n\n"
        finally:
            app.has_ended.set()  # type: ignore[attr-defined]

    @app.get("/stream")
    def stream() -> Response:
        return EventStream(lambda _: frames(), loop, {"content-type": "text/event-stream"})

    @app.get("/file")
    def file() -> Response:
        return FileStream(frames, loop, {"content-type": "application/zip"})

    async def broken() -> AsyncGenerator[bytes]:
        yield b"half"
        raise ConnectionLost("The backend has gone.")

    @app.get("/broken")
    def half() -> Response:
        return FileStream(broken, loop, {"content-type": "application/zip"})

    return app


class BridgeClient:
    """A bridge and the requests to it."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def __call__(self, *arguments: Any, **more: Any) -> Wire:
        return Wire(self.bridge).ask(*arguments, **more)

    def begin_request(self, path: str, piece: bytes) -> Wire:
        """Begin a request whose body does not end."""
        return Wire(self.bridge).ask(path, piece, method="POST", ends=False)


@pytest.fixture
async def client(app: Flask) -> AsyncGenerator[BridgeClient]:
    bridge = Bridge(app, largest=1000)
    yield BridgeClient(bridge)
    bridge.close()


async def test_a_body_in_pieces_arrives_whole_and_repeated_headers_stay_apart(
    client: BridgeClient,
) -> None:
    wire = client("/echo", b"one ", b"two", method="POST", query=b"q=%20a")
    start = await wire.next()
    body = await wire.next()

    assert body["body"] == b"one two"
    assert (b"x-query", b"q=%20a") in start["headers"]
    cookies = [value for name, value in start["headers"] if name == b"set-cookie"]
    assert cookies == [b"a=1", b"b=2"]


async def test_a_body_that_is_too_large_is_refused_before_the_application_reads_it(
    client: BridgeClient,
) -> None:
    status, headers, body = await client("/echo", b"x" * 1001, method="POST").read_response()

    assert status == 413
    assert headers[b"content-type"] == b"application/problem+json"
    assert b"too_large" in body


async def test_a_body_without_a_length_is_read_by_the_view(client: BridgeClient) -> None:
    """A chunked body is complete when the view is called."""
    headers = [(b"transfer-encoding", b"chunked")]
    _, _, body = await client(
        "/echo", b"one ", b"two", method="POST", headers=headers
    ).read_response()

    assert body == b"one two"


async def test_all_bodies_together_take_no_more_memory_than_their_limit(
    client: BridgeClient,
) -> None:
    open_requests = [client.begin_request("/echo", b"x" * 1000) for _ in range(AT_ONCE)]
    refused_response = await client("/echo", b"y", method="POST").read_response()
    for wire in open_requests:
        wire.leave()
        await wire.task
    accepted_response = await client("/echo", b"y", method="POST").read_response()

    assert refused_response[0] == 503
    assert b"retry-after" in refused_response[1]
    assert accepted_response[0] == 200


async def test_a_body_that_stalls_is_not_waited_for(app: Any) -> None:
    bridge = Bridge(app, 1000, timeouts=BridgeTimeouts(pause=0.01))
    status, _, _ = await BridgeClient(bridge).begin_request("/echo", b"x").read_response()

    assert status == 408
    bridge.close()


async def test_pages_come_while_every_call_of_the_api_waits(client: BridgeClient, app: Any) -> None:
    stuck_requests = [client("/api/stuck") for _ in range(THREADS)]
    page = await client("/page").read_response()
    app.unstuck.set()
    answers = [await wire.read_response() for wire in stuck_requests]

    assert page[2] == b"page"
    assert {status for status, _, _ in answers} == {200}


async def test_one_address_leaves_threads_for_another(client: BridgeClient, app: Any) -> None:
    stuck_requests = [client("/api/stuck") for _ in range(THREADS)]
    other = await client("/api/quick", peer="127.0.0.2").read_response()
    app.unstuck.set()
    answers = [await wire.read_response() for wire in stuck_requests]

    assert other[2] == b"quick"
    assert {status for status, _, _ in answers} == {200}


async def test_a_body_that_is_awaited_comes_with_its_length(client: BridgeClient, app: Any) -> None:
    wire = client("/awaited")
    app.release.set()
    status, headers, body = await wire.read_response()

    assert (status, body, headers[b"content-length"]) == (200, b"[]", b"2")
    assert headers[b"content-type"] == b"application/json"


async def test_a_body_that_is_awaited_is_not_made_for_a_reader_who_has_left(
    client: BridgeClient, app: Any
) -> None:
    wire = client("/awaited")
    async with asyncio.timeout(SECONDS):
        await app.has_begun.wait()
        wire.leave()
        await app.has_ended.wait()
        await wire.task


@pytest.mark.parametrize("path", ["/awaited/nothing", "/nothing"])
async def test_a_failure_before_the_first_byte_is_answered_as_a_problem(
    client: BridgeClient, path: str
) -> None:
    status, headers, body = await client(path).read_response()

    assert (status, headers[b"content-type"]) == (404, b"application/problem+json")
    assert (headers[b"x-beside"], headers[b"content-length"]) == (b"1", b"%d" % len(body))
    assert b"content-disposition" not in headers


async def test_a_header_with_an_underscore_is_not_taken_for_one_with_a_hyphen(
    client: BridgeClient,
) -> None:
    headers = [(b"x_forwarded_user", b"mallory"), (b"x-plain", b"a"), (b"x-plain", b"b")]
    _, _, body = await client("/headers", headers=headers).read_response()

    assert b"mallory" not in body
    assert b'"X-Plain":"a,b"' in body.replace(b" ", b"")


async def test_a_stream_is_sent_as_it_comes_and_ends(client: BridgeClient, app: Any) -> None:
    wire = client("/stream")
    start, first = await wire.next(), await wire.next()
    app.release.set()
    second, end = await wire.next(), await wire.next()

    assert start["status"] == 200
    assert (first["body"], first["more_body"]) == (b"data: 1\n\n", True)
    assert second["body"] == b"data: 2\n\n"
    assert (end["body"], end["more_body"]) == (b"", False)


async def test_frames_are_written_without_their_task_where_the_server_can(app: Any) -> None:
    loop = asyncio.get_running_loop()
    frames_written: list[bytes] = []
    room = [True, False, True]

    def write(make: Callable[[], bytes]) -> bool:
        if not room.pop(0):
            return False
        frames_written.append(make())
        return True

    async def frames(write_now: WriteNow | None) -> AsyncGenerator[bytes]:
        assert write_now is not None
        yield b"data: 1\n\n"
        write_results = [write_now(lambda: b"data: 2\n\n"), write_now(lambda: b"data: 3\n\n")]
        yield f"{write_results}".encode()
        write_now(lambda: b"data: 4\n\n")

    @app.get("/at-once")
    def at_once() -> Response:
        return EventStream(frames, loop, {})

    bridge = Bridge(app, 1000)
    _, _, body = (
        await Wire(bridge).ask("/at-once", extensions={WRITE: {"now": write}}).read_response()
    )
    bridge.close()

    assert body == b"data: 1\n\n[True, False]"
    assert frames_written == [b"data: 2\n\n", b"data: 4\n\n"]


async def test_a_stream_learns_that_its_server_cannot_write_at_once(app: Any) -> None:
    loop = asyncio.get_running_loop()

    async def frames(write_now: WriteNow | None) -> AsyncGenerator[bytes]:
        yield f"{write_now}".encode()

    @app.get("/plain")
    def plain() -> Response:
        return EventStream(frames, loop, {})

    bridge = Bridge(app, 1000)
    _, _, body = await Wire(bridge).ask("/plain").read_response()
    bridge.close()

    assert body == b"None"


async def test_a_silent_stream_notices_at_once_that_its_reader_has_left(
    client: BridgeClient, app: Any
) -> None:
    wire = client("/stream")
    await wire.next()
    await wire.next()
    wire.leave()
    async with asyncio.timeout(SECONDS):
        await app.has_ended.wait()
        await wire.task


async def test_a_silent_stream_sends_heartbeats(app: Any) -> None:
    bridge = Bridge(app, 1000, timeouts=BridgeTimeouts(silence=0.01))
    wire = Wire(bridge).ask("/stream")
    await wire.next()
    await wire.next()

    assert (await wire.next())["body"] == HEARTBEAT
    wire.leave()
    bridge.close()


async def test_a_reader_who_does_not_read_is_dropped(app: Any) -> None:
    bridge = Bridge(app, 1000, timeouts=BridgeTimeouts(patience=0.01))
    to_app, is_stuck = asyncio.Queue[Any](), asyncio.Event()
    to_app.put_nowait({"type": "http.request", "body": b""})

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await is_stuck.wait()

    scope = {"type": "http", "method": "GET", "path": "/stream", "query_string": b"", "headers": []}
    async with asyncio.timeout(SECONDS):
        await bridge(scope, to_app.get, send)

    assert app.has_ended.is_set()
    bridge.close()


async def test_a_large_answer_goes_in_pieces_and_waits_for_its_reader(app: Any) -> None:
    bridge = Bridge(app, 1000)
    account = UnsentBytes(PIECE * 7)
    extensions = {UNSENT: {"bytes": account}}
    to_app, sizes, pieces_taken = asyncio.Queue[Any](), [], asyncio.Semaphore(0)
    to_app.put_nowait({"type": "http.request", "body": b""})

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            sizes.append(len(message["body"]))
            await pieces_taken.acquire()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/large",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 5),
        "extensions": extensions,
    }
    slow_answer = asyncio.ensure_future(bridge(scope, to_app.get, send))
    async with asyncio.timeout(SECONDS):
        while not sizes:
            await asyncio.sleep(0)
        total = account.total
        refused_status, headers, _ = (
            await Wire(bridge).ask("/large", extensions=extensions).read_response()
        )
        with account.hold("another", 1):
            pass
        for _ in range(5):
            pieces_taken.release()
        await slow_answer
    status, _, body = await Wire(bridge).ask("/large", extensions=extensions).read_response()
    bridge.close()

    assert total == PIECE * 3 + 1
    assert sizes == [PIECE, PIECE, PIECE, 1, 0]
    assert (refused_status, headers[b"retry-after"]) == (503, b"1")
    assert (status, len(body), account.total) == (200, PIECE * 3 + 1, 0)


async def test_streams_end_when_the_server_is_about_to_stop(app: Any) -> None:
    bridge = Bridge(app, 1000, closing=lambda: True, timeouts=BridgeTimeouts(blink=0.01))
    wire = Wire(bridge).ask("/stream")
    _, _, body = await wire.read_response()

    assert body == b"data: 1\n\n" + HEARTBEAT
    bridge.close()


async def test_nothing_is_put_into_a_file_and_a_server_that_stops_does_not_end_it(app: Any) -> None:
    timeouts = BridgeTimeouts(silence=0.01, blink=0.01)
    bridge = Bridge(app, 1000, closing=lambda: True, timeouts=timeouts)
    wire = Wire(bridge).ask("/file")
    await wire.next()
    await wire.next()
    next_message = asyncio.ensure_future(wire.next())
    await asyncio.wait([next_message], timeout=0.1)  # ten times as long as a stream may be silent
    app.release.set()

    assert (await next_message)["body"] == b"data: 2\n\n"
    assert (await wire.next())["more_body"] is False
    bridge.close()


async def test_a_file_that_breaks_off_is_never_ended(client: BridgeClient) -> None:
    wire = client("/broken")
    _, half_message = await wire.next(), await wire.next()

    assert (half_message["body"], half_message["more_body"]) == (b"half", True)
    assert wire.task
    with pytest.raises(ConnectionLost):
        await wire.task


def test_any_wsgi_server_may_iterate_the_stream(app: Any) -> None:
    """Without the bridge, a thread iterates the stream while the loop runs in another thread."""
    loop = asyncio.new_event_loop()

    async def frames() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    @app.get("/elsewhere")
    def elsewhere() -> Response:
        return EventStream(lambda _: frames(), loop, {"content-type": "text/event-stream"})

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        body = app.test_client().get("/elsewhere").data
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    assert body == b"data: 1\n\ndata: 2\n\n"


def test_a_stream_that_outlives_its_loop_is_dropped_without_a_word() -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"first"
        yield b"second"

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    body = StreamedBody(lambda _: frames(), loop)
    first = next(iter(body))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    body.close()

    assert first == b"first"
