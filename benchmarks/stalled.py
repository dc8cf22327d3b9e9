"""A flood whose only reader stalls: the memory that it takes, and the chunks that are lost."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.load import PATIENCE, Target
from benchmarks.report import Figure, Row, row

WORD = b"a word or "
"""Text of each chunk of a flood."""
RECEIVE_BYTES = 65_536  # of the reader's socket; the server buffers the rest
LOOK_SECONDS = 0.02
READ_SECONDS = 120.0  # time limit for reading the rest

_DELTA = re.compile(rb'\{"type":"text\.delta","text":"([^"]*)"')
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Stall:
    """Effect of a stall: the most megabytes above those at rest, and the chunks that were lost.

    Only chunks in Antiphon's own events are counted.
    """

    growth: float
    lost_chunks: int


async def measure(bench: Bench) -> list[Row]:
    """Compare the server, which reads the whole reply, with a relay, which waits for its reader."""
    chunks, seconds = bench.pick(640, 100_000, 200_000), bench.pick(0.2, 2.0, 5.0)
    stalls: dict[str, list[Stall]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        relay = await stack.enter_async_context(bench.relay(upstream))
        at_rest = {target.name: target.child.rss() for target in (antiphon, relay)}
        for _ in range(bench.pick(1, 1, 3)):
            for target in (antiphon, relay):
                stall = await watch_stall(target, chunks, seconds, at_rest[target.name])
                stalls.setdefault(target.name, []).append(stall)
    what = f"a reader of {chunks:,} chunks stalls for {seconds:g} s"
    return [
        row(
            f"{what}: memory above that at rest",
            _figure("MB", [each.growth for each in stalls[antiphon.name]]),
            "bare relay",
            _figure("MB", [each.growth for each in stalls[relay.name]]),
            target="at most 64 MB",
            at_most=64,
        ),
        row(
            "chunks that it does not read afterwards",
            _figure("chunks", [each.lost_chunks for each in stalls[antiphon.name]]),
            target="none",
            at_most=0,
        ),
    ]


async def watch_stall(target: Target, chunks: int, seconds: float, at_rest: float) -> Stall:
    """Read the beginning of a reply, stall for a while, and read the rest."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", target.child.port))
    request = target.request(f"flood-{chunks}")
    _, reader = await loop.create_connection(lambda: _Reader(request), sock=sock)
    async with asyncio.timeout(PATIENCE):
        await reader.begun
    peak, until = at_rest, loop.time() + seconds
    while loop.time() < until:
        peak = max(peak, target.child.rss())
        await asyncio.sleep(LOOK_SECONDS)
    reader.transport.resume_reading()
    async with asyncio.timeout(READ_SECONDS):
        received = await reader.ended
    text_bytes = sum(map(len, _DELTA.findall(received)))
    return Stall(peak - at_rest, chunks - text_bytes // len(WORD))


class _Reader(asyncio.Protocol):
    """Protocol that pauses after the first event; `ended` is a future of the whole response."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[bytes] = loop.create_future()
        self._request = request
        self._received = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_exception(exc or ConnectionError("the reader was cut off"))
                future.exception()  # not every future is awaited; this avoids a warning

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.begun.done() and b"data: " in self._received:
            self.begun.set_result(None)
            self.transport.pause_reading()
        if self._received.endswith(_END) and not self.ended.done():
            self.ended.set_result(bytes(self._received))
            self.transport.abort()


def _figure(unit: str, values: Sequence[float]) -> Figure:
    return Figure(tuple(values), unit)
