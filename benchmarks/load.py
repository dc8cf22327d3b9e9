"""Many streams at once, read on raw sockets: the lag of each chunk.

A paced chunk contains its send time (see `upstream`), so that the reader knows its lag.
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
SETTLE_SECONDS = 0.7  # from the first chunk of all streams to the measurement
PATIENCE = 30.0

_STAMP = re.compile(rb"@(\d{16})")
_CUT_STAMP = re.compile(rb"@\d{0,15}$")
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Arrival:
    """Arrival of streams: groups of `at_once`, each followed by `pause` seconds."""

    at_once: int = 10
    pause: float = 0.06  # spreads the cost of starting, which is measured elsewhere


@dataclass(frozen=True)
class Target:
    """A server under load, and the form of its requests."""

    name: str
    child: Child
    path: str = "/v1/chat/completions"
    cookie: str = ""
    model_prefix: str = ""
    """Prefix of the names of models on this server."""

    def request(self, model: str) -> bytes:
        """Return the request for one streamed reply."""
        body = json.dumps(self._request_body(self.model_prefix + model)).encode()
        host = f"127.0.0.1:{self.child.port}"
        cookie = f"Cookie: {self.cookie}\r\nOrigin: http://{host}\r\n" if self.cookie else ""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\n{cookie}"
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
                fields = {"id": secrets.token_hex(8), "trigger": "submit-message", "model": model}
                return {**fields, "messages": [{**message, "id": secrets.token_hex(8)}]}
            case "/ag-ui/v1/run":
                fields = {"threadId": secrets.token_hex(8), "runId": secrets.token_hex(8)}
                empty: dict[str, object] = {"tools": [], "context": [], "state": {}}
                messages = [{**hello, "id": secrets.token_hex(8)}]
                return {
                    **fields,
                    **empty,
                    "messages": messages,
                    "forwardedProps": {"model": model},
                }
            case _:
                return {"model": model, "messages": [hello], "stream": True}


@dataclass
class Record:
    """Chunks of all streams of a measurement; times in seconds."""

    chunks: int = 0
    lags: array[float] = field(default_factory=lambda: array("d"))
    gaps: array[float] = field(default_factory=lambda: array("d"))

    def clear(self) -> None:
        """Discard everything; the measurement starts now."""
        self.chunks = 0
        del self.lags[:], self.gaps[:]


class Stream(asyncio.Protocol):
    """One reply being read; `first` and `ended` are futures of the times of first chunk and end."""

    def __init__(self, request: bytes, record: Record, chunks: int) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[float] = loop.create_future()
        self.requested_at = 0.0
        self.bytes = 0
        self._request = request
        self._record = record
        self._left = chunks
        self._last = 0.0
        self._tail = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.requested_at = time.monotonic()
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
        # The end of Antiphon's reply repeats the text: only the first `chunks` stamps are chunks.
        if self._left > 0:
            self._record_chunks(now, self._tail + data)
        if data.endswith(_END) and not self.ended.done():
            self.ended.set_result(now)
            self._fail(RuntimeError(f"the stream ended early: {data[-500:]!r}"))
            self.transport.abort()

    def _record_chunks(self, now: float, data: bytes) -> None:
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
        elif not self.first.done():  # it is done if the stream has failed already
            self.first.set_result(now)
        self._last = now

    def _fail(self, error: Exception) -> None:
        for future in (self.first, self.ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # not every future is awaited; this avoids a warning


async def open_stream(target: Target, model: str, record: Record, chunks: int = 0) -> Stream:
    """Request a reply and start to read it; its first `chunks` stamped chunks are recorded."""
    loop = asyncio.get_running_loop()
    request = target.request(model)
    _, stream = await loop.create_connection(
        lambda: Stream(request, record, chunks), "127.0.0.1", target.child.port
    )
    return stream


@dataclass(frozen=True)
class Paced:
    """Cost and pace of many streams of one rate; times in seconds.

    `database_cpu` is the processor time of a database process beside the server.
    """

    rate: int
    chunks: int
    seconds: float
    cpu: float
    rss: float
    lag_p50: float
    lag_p99: float
    gap_p99: float
    uninterrupted: bool
    database_cpu: float = 0.0

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds of the server's processor time."""
        return self.cpu / self.chunks * 1e6

    def is_smooth(self, streams: int, within: float) -> bool:
        """Return whether all streams kept their pace, and 99 % of chunks came `within` seconds."""
        on_pace = self.chunks > 0.95 * streams * self.rate * self.seconds
        return self.uninterrupted and on_pace and self.lag_p99 < within and self.gap_p99 < within


async def watch_paced_streams(
    target: Target,
    streams: int,
    seconds: float,
    rate: int = RATE,
    opening: float | None = None,
    database: Child | None = None,
    arrival: Arrival = Arrival(),
) -> Paced:
    """Open many streams, let them settle, and measure them for `seconds`.

    `opening` is the time that the replies allow for the opening of all streams, in seconds.
    """
    record = Record()
    opening = opening or streams / arrival.at_once * arrival.pause + 0.5
    settle = min(SETTLE_SECONDS, seconds)
    chunks = round(rate * (opening + settle + seconds + 0.5))
    opened_streams = await _open_streams(
        target, streams, f"paced-{rate}-{chunks}", chunks, record, arrival
    )
    await asyncio.sleep(settle)
    record.clear()
    began, cpu, database_cpu = time.monotonic(), target.child.cpu(), _cpu(database)
    await asyncio.sleep(seconds)
    elapsed, cpu = time.monotonic() - began, target.child.cpu() - cpu
    database_cpu = _cpu(database) - database_cpu
    uninterrupted = not any(each.ended.done() for each in opened_streams)
    paced = Paced(
        rate=rate,
        chunks=record.chunks,
        seconds=elapsed,
        cpu=cpu,
        rss=target.child.rss(),
        lag_p50=percentile(record.lags, 50),
        lag_p99=percentile(record.lags, 99),
        gap_p99=percentile(record.gaps, 99),
        uninterrupted=uninterrupted,
        database_cpu=database_cpu,
    )
    await asyncio.wait([each.ended for each in opened_streams], timeout=PATIENCE)
    for each in opened_streams:
        each.transport.abort()
    return paced


def _cpu(child: Child | None) -> float:
    return child.cpu() if child else 0.0


async def _open_streams(
    target: Target, streams: int, model: str, chunks: int, record: Record, arrival: Arrival
) -> list[Stream]:
    opened_streams: list[Stream] = []
    for begun in range(0, streams, arrival.at_once):
        group = min(arrival.at_once, streams - begun)
        opened_streams += await asyncio.gather(
            *(open_stream(target, model, record, chunks) for _ in range(group))
        )
        await asyncio.sleep(arrival.pause)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.first for each in opened_streams))
    return opened_streams


@dataclass(frozen=True)
class Flood:
    """Cost and speed of replies that come as fast as they are read."""

    chunks: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Chunks a second."""
        return self.chunks / self.seconds

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds of the server's processor time."""
        return self.cpu / self.chunks * 1e6


async def flood(target: Target, chunks: int, times: int = 1) -> Flood:
    """Read a reply of `chunks` chunks, `times` times in a row."""
    cpu, seconds = target.child.cpu(), 0.0
    for _ in range(times):
        stream = await open_stream(target, f"flood-{chunks}", Record())
        async with asyncio.timeout(PATIENCE):
            seconds += await stream.ended - stream.requested_at
    return Flood(chunks * times, seconds, target.child.cpu() - cpu)


async def first_token(target: Target) -> float:
    """Return the seconds from the request to the first chunk of its reply."""
    stream = await open_stream(target, f"paced-{RATE}-2", Record(), chunks=2)
    async with asyncio.timeout(PATIENCE):
        first = await stream.first
        await stream.ended
    return first - stream.requested_at


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of any number of values; infinity without values."""
    if len(values) < 2:
        return values[0] if values else float("inf")
    return quantiles(values, n=100, method="inclusive")[percent - 1]
