"""Many streams at once, read on raw sockets: what each chunk's way took.

A paced chunk holds the time it was sent (see `upstream`), so its lag is known where it comes out.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from benchmarks.children import Child

RATE = 50  # chunks a second
SETTLE_SECONDS = 0.7  # until the streams run as they will
PATIENCE = 30.0

_STAMP = re.compile(rb"@(\d{16})")
_CUT_STAMP = re.compile(rb"@\d{0,15}$")
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Arrival:
    """Begin of the streams: so many at once, and then a pause, in seconds."""

    at_once: int = 10
    pause: float = 0.06  # what a server does to begin is measured elsewhere


@dataclass(frozen=True)
class Target:
    """A server under load: how it is asked for a reply of a model."""

    name: str
    child: Child
    path: str = "/v1/chat/completions"
    cookie: str = ""
    model_prefix: str = ""
    """Stands before the names of models there."""

    def request(self, model: str) -> bytes:
        """The request for one streamed reply."""
        body = json.dumps(self._request_body(self.model_prefix + model)).encode()
        here = f"127.0.0.1:{self.child.port}"
        cookie = f"Cookie: {self.cookie}\r\nOrigin: http://{here}\r\n" if self.cookie else ""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {here}\r\n{cookie}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _request_body(self, model: str) -> dict[str, object]:
        hello = {"role": "user", "content": "hello"}
        match self.path:
            case "/v1/process":
                return {"model": model, "message": hello}
            case "/openai/v1/responses" | "/v1/responses":
                return {"model": model, "input": "hello", "stream": True}
            case "/api/messages/process":
                return {"model": model, "content": "hello"}
            case "/ai-sdk/v6/chat":
                message = {"role": "user", "parts": [{"type": "text", "text": "hello"}]}
                page = {"id": secrets.token_hex(8), "trigger": "submit-message", "model": model}
                return {**page, "messages": [{**message, "id": secrets.token_hex(8)}]}
            case "/ag-ui/v1/run":
                page = {"threadId": secrets.token_hex(8), "runId": secrets.token_hex(8)}
                empty: dict[str, object] = {"tools": [], "context": [], "state": {}}
                messages = [{**hello, "id": secrets.token_hex(8)}]
                return {
                    **page,
                    **empty,
                    "messages": messages,
                    "forwardedProps": {"model": model},
                }
            case _:
                return {"model": model, "messages": [hello], "stream": True}


@dataclass
class Record:
    """Record of all streams of a measurement; times in seconds."""

    chunks: int = 0
    lags: array[float] = field(default_factory=lambda: array("d"))
    gaps: array[float] = field(default_factory=lambda: array("d"))

    def clear(self) -> None:
        """Begin anew: what came before was not yet the measurement."""
        self.chunks = 0
        del self.lags[:], self.gaps[:]


class Stream(asyncio.Protocol):
    """One reply being read. `first` and `ended` are futures of the time when that was."""

    def __init__(self, request: bytes, record: Record, chunks: int) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[float] = loop.create_future()
        self.asked_at = 0.0
        self.bytes = 0
        self._request = request
        self._record = record
        self._left = chunks
        self._last = 0.0
        self._tail = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.asked_at = time.monotonic()
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("the stream was cut"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.bytes and not data.startswith(b"HTTP/1.1 200"):
            self._fail(RuntimeError(data[:1000].decode("utf-8", "replace")))
            self.transport.abort()
            return
        self.bytes += len(data)
        # The end of a reply of ours repeats its text: only the first so many stamps are chunks.
        if self._left > 0:
            self._count(now, self._tail + data)
        if data.endswith(_END) and not self.ended.done():
            self.ended.set_result(now)
            self._fail(RuntimeError(f"the stream ended early: {data[-500:]!r}"))
            self.transport.abort()

    def _count(self, now: float, data: bytes) -> None:
        stamps = _STAMP.findall(data)[: self._left]
        cut = _CUT_STAMP.search(data)
        self._tail = cut[0] if cut else b""
        if not stamps:
            return
        record = self._record
        record.chunks += len(stamps)
        self._left -= len(stamps)
        for stamp in stamps:
            record.lags.append(now - int(stamp) / 1e6)
        if self._last:
            record.gaps.append(now - self._last)
        elif not self.first.done():  # or it has failed, and this came too late
            self.first.set_result(now)
        self._last = now

    def _fail(self, error: Exception) -> None:
        for waiting in (self.first, self.ended):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # somebody may wait for it, nobody has to


async def stream(target: Target, model: str, record: Record, chunks: int = 0) -> Stream:
    """Ask for a reply; it is read from now on. `chunks` with a stamp are counted."""
    loop = asyncio.get_running_loop()
    request = target.request(model)
    _, reading = await loop.create_connection(
        lambda: Stream(request, record, chunks), "127.0.0.1", target.child.port
    )
    return reading


@dataclass(frozen=True)
class Paced:
    """Cost and pace of many streams of one rate. Times in seconds.

    `beside` is the processor time of another process that works for them.
    """

    rate: int
    chunks: int
    seconds: float
    cpu: float
    rss: float
    lag_p50: float
    lag_p99: float
    gap_p99: float
    whole: bool
    beside: float = 0.0

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds of the server's processor time."""
        return self.cpu / self.chunks * 1e6

    def smooth(self, streams: int, within: float) -> bool:
        """True if all streams kept their pace, and 99 % of chunks their latency."""
        kept = self.chunks > 0.95 * streams * self.rate * self.seconds
        return self.whole and kept and self.lag_p99 < within and self.gap_p99 < within


async def watch_paced_streams(
    target: Target,
    streams: int,
    seconds: float,
    rate: int = RATE,
    opening: float | None = None,
    beside: Child | None = None,
    arrival: Arrival = Arrival(),
) -> Paced:
    """Open so many streams, let them settle, and watch them for a while.

    `opening` is how long it may take until all have begun, in seconds.
    """
    record = Record()
    opening = opening or streams / arrival.at_once * arrival.pause + 0.5
    settle = min(SETTLE_SECONDS, seconds)
    chunks = round(rate * (opening + settle + seconds + 0.5))
    reading = await _open_streams(
        target, streams, f"paced-{rate}-{chunks}", chunks, record, arrival
    )
    await asyncio.sleep(settle)
    record.clear()
    began, cpu, beside_cpu = time.monotonic(), target.child.cpu(), _cpu(beside)
    await asyncio.sleep(seconds)
    took, cpu = time.monotonic() - began, target.child.cpu() - cpu
    beside_cpu = _cpu(beside) - beside_cpu
    whole = not any(each.ended.done() for each in reading)
    seen = Paced(
        rate=rate,
        chunks=record.chunks,
        seconds=took,
        cpu=cpu,
        rss=target.child.rss(),
        lag_p50=percentile(record.lags, 50),
        lag_p99=percentile(record.lags, 99),
        gap_p99=percentile(record.gaps, 99),
        whole=whole,
        beside=beside_cpu,
    )
    await asyncio.wait([each.ended for each in reading], timeout=PATIENCE)
    for each in reading:
        each.transport.abort()
    return seen


def _cpu(child: Child | None) -> float:
    return child.cpu() if child else 0.0


async def _open_streams(
    target: Target, streams: int, model: str, chunks: int, record: Record, arrival: Arrival
) -> list[Stream]:
    reading: list[Stream] = []
    for begun in range(0, streams, arrival.at_once):
        group = min(arrival.at_once, streams - begun)
        reading += await asyncio.gather(
            *(stream(target, model, record, chunks) for _ in range(group))
        )
        await asyncio.sleep(arrival.pause)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.first for each in reading))
    return reading


@dataclass(frozen=True)
class Flood:
    """One reply as fast as it comes."""

    chunks: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Chunks."""
        return self.chunks / self.seconds

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds of the server's processor time."""
        return self.cpu / self.chunks * 1e6


async def flood(target: Target, chunks: int, times: int = 1) -> Flood:
    """Read a reply of so many chunks, once or some times in a row."""
    cpu, seconds = target.child.cpu(), 0.0
    for _ in range(times):
        reading = await stream(target, f"flood-{chunks}", Record())
        async with asyncio.timeout(PATIENCE):
            seconds += await reading.ended - reading.asked_at
    return Flood(chunks * times, seconds, target.child.cpu() - cpu)


async def first_token(target: Target) -> float:
    """Seconds from the request to the first chunk of its reply."""
    reading = await stream(target, f"paced-{RATE}-2", Record(), chunks=2)
    async with asyncio.timeout(PATIENCE):
        first = await reading.first
        await reading.ended
    return first - reading.asked_at


def percentile(values: Sequence[float], percent: int) -> float:
    """Of any number of values; infinite where there are none."""
    if len(values) < 2:
        return values[0] if values else float("inf")
    return quantiles(values, n=100, method="inclusive")[percent - 1]
