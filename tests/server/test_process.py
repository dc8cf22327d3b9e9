"""The server as a process: what it prints, what it waits for, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import httpx2
import msgspec
import pytest
from msgspec.structs import replace

from antiphon.server.connection import HttpConnection
from antiphon.server.serve import run_server
from antiphon.types import events
from antiphon.types.errors import BadSettings
from antiphon.wires import sse
from tests.support import fork_python
from tests.support.server.served import DEADLINE, SETTINGS, asgi, eventually

SERVE = """
import sys, msgspec
from antiphon.server.serve import serve
from antiphon.settings.settings import Settings
serve(msgspec.json.decode(sys.argv[1], type=Settings))
"""
SLOW = replace(SETTINGS, demo_delay=0.06667, shutdown_timeout=10.0)
LONG_GRACE = replace(SLOW, shutdown_timeout=10 * DEADLINE)
"""Settings with which a server waits for its runs and streams for longer than a test lasts."""
ASK = {"message": {"content": "When does the next LAX-JFK flight leave?"}}


@dataclass
class RunningServer:
    process: asyncio.subprocess.Process
    client: httpx2.AsyncClient
    lines: list[str]

    async def end(self, *signals: signal.Signals) -> int:
        for signal_ in signals:
            self.process.send_signal(signal_)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def _start_server(settings: object = SETTINGS) -> AsyncGenerator[RunningServer]:
    process = await asyncio.create_subprocess_exec(
        *fork_python.command("-c", SERVE, msgspec.json.encode(settings).decode()),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE):
            while not (lines and lines[-1].startswith("listening on ")):
                line = (await process.stderr.readline()).decode()
                assert line, lines
                lines.append(line.strip())
        url = lines[-1].removeprefix("listening on ")
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE) as client:
            yield RunningServer(process, client, lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_says_what_it_serves_and_then_that_it_listens() -> None:
    async with _start_server() as server:
        assert (await server.client.get("/readyz")).status_code == 200
        about_line, listening_line = server.lines

    assert "memory:" in about_line
    assert "demo" in about_line
    assert "keys: no" in about_line
    assert listening_line.startswith("listening on http://127.0.0.1:")
    assert f" on {listening_line.rpartition('/')[2]}, " in about_line  # also where --port is 0


async def test_port_zero_is_a_port_of_its_own() -> None:
    async with _start_server() as one, _start_server() as other:
        assert one.client.base_url != other.client.base_url


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_server_ends_at_once_and_well(by: signal.Signals) -> None:
    async with _start_server(LONG_GRACE) as server:
        await server.client.get("/healthz")
        code = await server.end(by)

    assert code == 0


async def test_a_running_turn_is_streamed_to_its_end() -> None:
    async with _start_server(SLOW) as server:
        async with _open_run(server) as stream:
            frames = _frames(stream)
            first = await anext(frames)
            server.process.send_signal(signal.SIGTERM)
            later_frames = [frame async for frame in frames]
        code = await server.end()

    assert first.id == "1"
    assert later_frames[-1].event == "turn.ended"
    assert events.decode(later_frames[-1].data).status == "completed"  # type: ignore[union-attr]
    assert code == 0


async def test_a_server_that_ends_says_so_and_takes_no_new_turn() -> None:
    async with _start_server(SLOW) as server:
        client = server.client
        async with _open_run(server) as stream:
            await anext(_frames(stream))
            server.process.send_signal(signal.SIGTERM)

            async def is_not_ready() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await eventually(is_not_ready)
            answer = await client.post("/v1/process", json=ASK)
            health = await client.get("/healthz")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "retry-after" in answer.headers
    assert health.status_code == 200


async def test_a_reader_of_a_run_that_rests_does_not_hold_the_end_up() -> None:
    async with _start_server(LONG_GRACE) as server:
        client = server.client
        thread = (await client.post("/v1/threads")).json()["id"]
        run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
        async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
            await anext(_frames(stream))
            code = await server.end(signal.SIGTERM)

    assert code == 0


async def test_a_second_signal_does_not_wait() -> None:
    settings = replace(LONG_GRACE, demo_delay=10)
    async with _start_server(settings) as server, _open_run(server) as stream:
        await anext(_frames(stream))
        server.process.send_signal(signal.SIGTERM)

        async def is_not_ready() -> bool:
            return (await server.client.get("/readyz")).status_code == 503

        await eventually(is_not_ready)
        await server.end(signal.SIGTERM)


async def test_an_error_about_a_taken_port_names_a_way_out() -> None:
    with socket.socket() as taken_socket:
        taken_socket.bind(("127.0.0.1", 0))
        taken_socket.listen()
        with pytest.raises(BadSettings, match="cannot be listened on") as excinfo:
            async with run_server(replace(SETTINGS, port=taken_socket.getsockname()[1])):
                pass

    assert "--port 0" in excinfo.value.details["hint"]


class HastyConnection(HttpConnection):
    head_patience = 0.3


@pytest.mark.parametrize(
    "header_start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "]
)
async def test_a_header_that_does_not_end_ends_the_connection(header_start: bytes) -> None:
    async with asgi(_ignore_request, HastyConnection) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(header_start)
        async with asyncio.timeout(DEADLINE):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")


class RecordedConnection(HttpConnection):
    """Connection that lists what it wrote at once."""

    writes: ClassVar[list[bytes]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _Recorder(transport, self.writes)))


class _Recorder:
    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: Any) -> None:
        self._writes.append(bytes(data))
        self._transport.write(data)

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.parametrize("pauses", [False, True])
async def test_a_head_goes_with_the_body_that_follows_at_once_and_waits_for_no_other(
    pauses: bool,
) -> None:
    may_go_on = asyncio.Event()

    async def answer(scope: object, receive: object, send: Callable[[object], Any]) -> None:
        fields = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        if pauses:
            await may_go_on.wait()
        await send({"type": "http.response.body", "body": b"body"})

    connection = type("Here", (RecordedConnection,), {"writes": []})
    async with asgi(answer, connection) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            head = await reader.readuntil(b"\r\n\r\n")
            may_go_on.set()
            assert await reader.readexactly(4) == b"body"
        writer.close()
    assert connection.writes == ([head, b"body"] if pauses else [head + b"body"])


def _open_run(server: RunningServer) -> AbstractAsyncContextManager[httpx2.Response]:
    return server.client.stream("POST", "/v1/process", json=ASK)


async def _ignore_request(scope: object, receive: object, send: object) -> None:
    """Do nothing: nothing reaches this application."""


async def _frames(stream: httpx2.Response) -> AsyncGenerator[sse.SseFrame, None]:
    decoder = sse.Decoder()
    async for piece in stream.aiter_raw():
        for frame in decoder.feed(piece):
            yield frame
