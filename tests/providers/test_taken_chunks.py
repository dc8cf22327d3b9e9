"""Chunks that a caller takes while it waits, and the rounds in which replies are read."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from antiphon.providers import read_coalescer
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.read_coalescer import (
    FULL_READ_BYTES,
    REPLIES_PER_ROUND,
    ReadCoalescer,
)
from antiphon.types.chunks import Chunk, Finish, ModelRequest, TextPiece
from antiphon.types.errors import Disconnected, Fenced
from tests.support.providers.upstream import STOP, Scenario, Upstream, sse, text_chunks

HELLO = b'{"role":"user","content":"hello"}'
WORDS = [f"word{number} " for number in range(40)]
BODY = sse(*text_chunks(*WORDS), STOP)
TALK = Scenario(BODY, gated_from=b"data: " + BODY.split(b"data: ")[20])
"""A reply that continues when its beginning has been read."""
CUT = sse(*text_chunks(*WORDS), done=False)
PATIENCE = 60.0


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


class Reply:
    """Reader of one reply: the chunks that were yielded and those that were taken, in order."""

    def __init__(self, upstream: Upstream, scenario: Scenario) -> None:
        self.yielded: list[Chunk] = []
        self.taken: list[Chunk] = []
        self.all: list[Chunk] = []
        self.takes = True
        self.fault: Exception | None = None
        upstream.scenarios["talk"] = scenario
        self._upstream = upstream

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.all if isinstance(chunk, TextPiece))

    async def read(self, name: str = "talk") -> None:
        provider = ChatCompletionsProvider(self._upstream.url, backoff_seconds=0)
        try:
            await self.read_from(provider, name)
        finally:
            await provider.close()

    async def read_from(self, provider: ChatCompletionsProvider, name: str = "talk") -> None:
        request = ModelRequest(model=f"quirk:{name}", messages=HELLO)
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(provider.stream(request, self._take)) as pages,
        ):
            async for page in pages:
                self._upstream.gate.set()
                self.yielded += page
                self.all += page

    def _take(self, chunks: Sequence[Chunk]) -> bool:
        self._upstream.gate.set()
        if self.fault is not None:
            raise self.fault
        if self.takes:
            self.taken += chunks
            self.all += chunks
        return self.takes


async def test_what_is_taken_is_not_yielded_and_nothing_is_missing(upstream: Upstream):
    reply = Reply(upstream, TALK)

    await reply.read()

    assert reply.text == "".join(WORDS)
    assert reply.taken
    assert [chunk for chunk in reply.yielded if isinstance(chunk, Finish)]


async def test_chunks_that_are_refused_are_yielded_in_their_place(upstream: Upstream):
    reply = Reply(upstream, TALK)
    reply.takes = False

    await reply.read()

    assert reply.text == "".join(WORDS)
    assert not reply.taken


@pytest.mark.parametrize("size", [1, 7, 50, None])
async def test_all_that_came_before_a_cut_is_handed_on(upstream: Upstream, size: int | None):
    reply = Reply(upstream, Scenario(CUT, ending="close", size=size))

    with pytest.raises(Disconnected):
        await reply.read()

    assert reply.text == "".join(WORDS)


async def test_an_error_of_the_taker_ends_the_reply_and_its_connection(upstream: Upstream):
    reply = Reply(upstream, Scenario(CUT, ending="hold"))
    reply.fault = Fenced("another worker has the run")

    with pytest.raises(Fenced):
        await reply.read()

    request = await upstream.wait_for_request(1)
    async with asyncio.timeout(PATIENCE):
        await request.done.wait()
    assert request.closed


async def test_the_connection_of_a_reply_that_was_read_in_rounds_carries_the_next(
    upstream: Upstream,
):
    provider = ChatCompletionsProvider(upstream.url, backoff_seconds=0)
    replies = [Reply(upstream, TALK) for _ in range(3)]
    for reply in replies:
        upstream.gate.clear()
        await reply.read_from(provider)
    await provider.close()

    assert [reply.text for reply in replies] == ["".join(WORDS)] * 3
    assert all(reply.taken for reply in replies)
    assert upstream.connections == 1


# Rounds, over connections to a server whose responses the test continues.


@asynccontextmanager
async def talking_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[TalkingServer]:
    """Run a server whose responses continue until the end of the block."""
    server = TalkingServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls) as listener:
        host, port = listener.sockets[0].getsockname()
        server.url = f"{'https' if tls else 'http'}://{host}:{port}/"
        yield server
        server.ended.set()


class TalkingServer:
    """Server that sends the bytes of `send` on all its connections; `ended` closes them."""

    def __init__(self) -> None:
        self.url = ""
        self.ended = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self._writers.append(writer)
        await self.ended.wait()
        writer.close()

    def send(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)


async def test_a_connection_is_received_in_rounds_and_wakes_nothing_between(
    monkeypatch: pytest.MonkeyPatch,
):
    coalescer, first_taken = ReadCoalescer(), asyncio.Event()

    def take(piece: bytes) -> bool:
        first_taken.set()
        monkeypatch.setattr(read_coalescer, "ROUND_SECONDS", 3_600.0)  # there is no next round
        return True

    async with (
        asyncio.timeout(PATIENCE),
        talking_server() as server,
        aiohttp.ClientSession() as session,
        session.get(server.url) as response,
    ):
        read_task = asyncio.create_task(coalescer.read(response.content, take, response.connection))
        await asyncio.sleep(0)
        server.send(b"one")
        await first_taken.wait()
        server.send(b"two")
        async with session.get(server.url) as other:  # its data comes after that of the first
            server.send(b"three")
            assert await other.content.readexactly(5) == b"three"
        received_meanwhile = response.content.total_bytes
        read_task.cancel()
        await asyncio.wait([read_task])
        rest = await response.content.readexactly(8)

    assert received_meanwhile == len(b"one")
    assert rest == b"twothree"


async def test_a_response_whose_buffer_is_full_is_received_when_it_has_room():
    coalescer, pieces = ReadCoalescer(), []
    words = b"".join(b"%06d " % number for number in range(100_000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(words))
        writer.write(words)
        await writer.drain()
        writer.close()

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    async with (
        asyncio.timeout(PATIENCE),
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(read_bufsize=1_000) as session,
        session.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as response,
    ):
        assert not await coalescer.read(response.content, take, response.connection)

    assert b"".join(pieces) == words


@pytest.mark.skipif(not shutil.which("openssl"), reason="nothing here makes certificates")
async def test_an_encrypted_connection_is_read_in_rounds_as_well(tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    received = bytearray()

    async with (
        asyncio.timeout(PATIENCE),
        talking_server(context) as server,
        aiohttp.ClientSession() as session,
        session.get(server.url, ssl=False) as response,
    ):

        def take(piece: bytes) -> bool:
            received.extend(piece)
            server.send(b"and on ")
            return len(received) < 70

        server.send(b"one ")
        rest = await ReadCoalescer().read(response.content, take, response.connection)

    assert rest.endswith(b"and on ")
    assert received.startswith(b"one and on and on ")


# Rounds, with bytes that the test feeds.


class Connection(BaseProtocol):
    """A connection without a peer: its content is fed by the test."""

    def data_received(self, data: bytes) -> None:
        """Do nothing: no data is left over from a pause."""


def response() -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    return aiohttp.StreamReader(Connection(loop), 2**16, loop=loop)


async def test_replies_of_one_round_are_read_one_after_the_other():
    """Other tasks run between two rounds, and none within a round."""
    coalescer, order = ReadCoalescer(), []
    contents = [response() for _ in range(REPLIES_PER_ROUND)]

    def take(number: int, piece: bytes) -> bool:
        order.append(number)
        asyncio.get_running_loop().call_soon(order.append, -1)
        return piece != b"end"

    read_tasks = [
        asyncio.create_task(coalescer.read(content, partial(take, number)))
        for number, content in enumerate(contents)
    ]
    await asyncio.sleep(0)
    for content in contents:
        content.feed_data(b"end")
    async with asyncio.timeout(PATIENCE):
        assert set(await asyncio.gather(*read_tasks)) == {b"end"}

    assert order[: len(contents)] == [*range(len(contents))]


async def test_a_large_read_is_followed_by_the_next_without_a_round(
    monkeypatch: pytest.MonkeyPatch,
):
    coalescer, pieces = ReadCoalescer(), []
    content = response()

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        if piece == b"more":
            return False
        monkeypatch.setattr(read_coalescer, "ROUND_SECONDS", 3_600.0)  # there is no next round
        content.feed_data(b"more")
        return True

    content.feed_data(bytes(FULL_READ_BYTES))
    async with asyncio.timeout(PATIENCE):
        assert await coalescer.read(content, take) == b"more"

    assert len(pieces) == 2


async def test_bytes_before_a_broken_connection_come_before_its_error():
    coalescer, pieces = ReadCoalescer(), []
    content = response()
    content.feed_data(b"last words")
    content.set_exception(aiohttp.ClientPayloadError("broken"))

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(aiohttp.ClientPayloadError, match="broken"):
            await coalescer.read(content, take)

    assert pieces == [b"last words"]


async def test_a_reply_that_is_broken_off_holds_up_no_other():
    coalescer = ReadCoalescer()
    contents = [response() for _ in range(4)]
    first, *others = [
        asyncio.create_task(coalescer.read(content, lambda _: True)) for content in contents
    ]
    await asyncio.sleep(0)
    first.cancel()
    for content in contents:
        content.feed_eof()

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*others) == [b""] * 3
    assert first.cancelled()
