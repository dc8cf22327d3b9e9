"""The fault proxy is exact: it lets through what a test asks for, byte for byte."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.support.services.fault_proxy import BOTH, Cut, FaultProxy, Way

DATA = b"0123456789"
PATIENCE = 60.0


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it receives, and remembers all of it."""

    server: EchoServer

    def handle(self) -> None:
        with suppress(ConnectionError):
            while data := self.request.recv(1000):
                self.server.received += data
                self.request.sendall(data)
        self.server.ended.set()


class EchoServer(socketserver.ThreadingTCPServer):
    """Server whose `ended` is set once a connection has ended."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.received = b""
        self.ended = threading.Event()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    proxy = FaultProxy(echo.server_address[1]).start()
    yield proxy
    proxy.stop()


async def send_pieces(proxy: FaultProxy, *pieces: bytes) -> tuple[bytes, bool]:
    """Send the pieces one after another; return the echo, and True if a RST ended it."""
    echoed = bytearray()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with closing(writer):
            async with asyncio.timeout(PATIENCE):
                for piece in pieces:
                    writer.write(piece)
                    await _read_echo(reader, len(echoed) + len(piece), echoed)
    except ConnectionError:
        return bytes(echoed), True
    else:
        return bytes(echoed), False


async def _read_echo(reader: asyncio.StreamReader, count: int, echoed: bytearray) -> None:
    while len(echoed) < count and (data := await reader.read(1000)):
        echoed += data


async def test_everything_passes_as_long_as_nothing_was_ordered(proxy: FaultProxy) -> None:
    assert await send_pieces(proxy, DATA, DATA * 50_000) == (DATA * 50_001, False)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("count", range(11))
async def test_so_many_bytes_pass_and_none_more(
    proxy: FaultProxy, echo: EchoServer, count: int, *, reset: bool
) -> None:
    proxy.cut(Cut(count, ways=("up",), reset=reset))

    echoed, was_reset = await send_pieces(proxy, DATA, DATA)

    assert await asyncio.to_thread(echo.ended.wait, PATIENCE)
    assert echo.received == DATA[:count]
    assert DATA.startswith(echoed)
    assert was_reset == reset
    assert proxy.cuts == 1


@pytest.mark.parametrize("count", range(10))
async def test_an_answer_may_be_cut_in_its_middle(proxy: FaultProxy, count: int) -> None:
    proxy.cut(Cut(count, ways=("down",)))

    assert await send_pieces(proxy, DATA) == (DATA[:count], True)


@pytest.mark.parametrize(("count", "echoed"), [(0, b""), (3, b""), (5, b"xx"), (9, b"xx COM")])
async def test_bytes_of_both_ways_are_counted_behind_a_word(
    proxy: FaultProxy, count: int, echoed: bytes
) -> None:
    proxy.cut(Cut(count, seen=b"COMMIT"))

    # Three bytes behind the word go up; whatever else is let through comes down.
    assert await send_pieces(proxy, b"xx COMMITyyy") == (echoed, True)


async def test_a_word_in_two_pieces_is_seen(proxy: FaultProxy, echo: EchoServer) -> None:
    proxy.cut(Cut(1, seen=b"COMMIT", ways=("up",)))

    assert await send_pieces(proxy, b"COM", b"MIT now") == (b"COM", True)
    assert await asyncio.to_thread(echo.ended.wait, PATIENCE)
    assert echo.received == b"COMMIT "


async def test_bytes_that_pass_behind_a_word_are_counted(proxy: FaultProxy) -> None:
    proxy.cut(Cut(1_000, seen=b"345"))

    assert await send_pieces(proxy, DATA) == (DATA, False)
    assert proxy.passed == len(b"6789" + DATA)


async def test_connections_after_a_cut_pass(proxy: FaultProxy) -> None:
    proxy.cut(Cut(0))
    await send_pieces(proxy, DATA)

    assert await send_pieces(proxy, DATA) == (DATA, False)


@pytest.mark.parametrize("ways", [BOTH, ("up",), ("down",)])
async def test_stalled_bytes_come_once_the_proxy_is_healed(
    proxy: FaultProxy, ways: tuple[Way, ...]
) -> None:
    proxy.stall(ways)
    send_task = asyncio.create_task(send_pieces(proxy, DATA))
    done, _ = await asyncio.wait([send_task], timeout=0.05)
    assert not done

    proxy.heal()

    assert await send_task == (DATA, False)


async def test_delayed_bytes_come_late_and_complete(proxy: FaultProxy) -> None:
    proxy.slow(0.05, ("down",))
    start = asyncio.get_running_loop().time()

    assert await send_pieces(proxy, DATA) == (DATA, False)
    assert asyncio.get_running_loop().time() - start >= 0.05


async def test_a_refused_connection_gets_a_reset(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(DATA)
    assert await reader.readexactly(10) == DATA

    proxy.refuse()

    with pytest.raises(ConnectionError):
        await reader.read(1)
    writer.close()
    assert await send_pieces(proxy, DATA) == (b"", True)


@pytest.mark.parametrize("reset", [True, False])
async def test_connections_that_are_ended_end_and_new_ones_pass(
    proxy: FaultProxy, *, reset: bool
) -> None:
    send_task = asyncio.create_task(send_pieces(proxy, DATA, b""))
    await send_task
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(DATA)
    await reader.readexactly(10)

    proxy.end(reset=reset)

    if reset:
        with pytest.raises(ConnectionError):
            await reader.read(1)
    else:
        assert await reader.read(1) == b""
    writer.close()
    assert await send_pieces(proxy, DATA) == (DATA, False)
