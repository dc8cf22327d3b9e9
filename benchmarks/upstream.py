"""A fake model server: so cheap that a benchmark measures the servers that use it.

    python -m benchmarks.upstream [RATE]   prints `listening on http://127.0.0.1:PORT` on stderr

The model's name in the request is the script:

    paced-50-500    500 chunks, 50 a second, which is RATE or a multiple of it; streams are spread
                    over the ticks of one shared clock
    frail-50-500    the same, but of a hundred requests one is refused and one is cut off
    flood-64000     64,000 chunks as fast as they are read
    tool            a call of `now`, then, once its output is there, the gap between the two turns

A paced chunk contains its send time, as `@` and 16 digits: microseconds of the monotonic clock,
which all processes of a machine share. `POST /v1/process` answers with Antiphon's own events, so
that its SDK can be measured without its server.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from functools import cache

import uvloop

SLOTS = 20  # ticks of a cycle: a stream of RATE is served in one of them, one of 20 x RATE in all
RATE = 50.0  # chunks a second
REFUSED, CUT = 33, 66  # numbers of two in each hundred frail requests
BLOCK = 64  # events written together in a flood

_MODEL = re.compile(rb'"model":\s*"([a-z]+)(?:-(\d+))?(?:-(\d+))?"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LAST = b"0\r\n\r\n"


def _chunk_body(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def _event(delta: bytes, finish: bytes = b"null") -> bytes:
    """Return one `chat.completion.chunk`, as servers send it."""
    return _chunk_body(
        b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",'
        b'"created":1790000000,"model":"fake-model-2026","choices":[{"index":0,'
        b'"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (delta, finish)
    )


def _text(text: bytes) -> bytes:
    return _event(b'{"content":"%b"}' % text)


_REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n"
    b'{"error":{"message":"frail today!"}}'
)
_DONE = _chunk_body(b"data: [DONE]\n\n") + _LAST
_STOP = _event(b"{}", b'"stop"') + _DONE
_ZEROS = b"0" * 16
_STAMPED = _text(b"@%b " % _ZEROS).replace(_ZEROS, b"%016d")
_WORD = _text(b"a word or ")
_FLOOD = _WORD * BLOCK
_CALL = (
    _event(
        b'{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_0",'
        b'"type":"function","function":{"name":"now","arguments":"{}"}}]}'
    )
    + _event(b"{}", b'"tool_calls"')
    + _DONE
)


def stamped_chunk() -> bytes:
    """Return a chunk that contains the present time."""
    return _STAMPED % (time.monotonic_ns() // 1000)


class Upstream:
    """State that all connections share: the clock, and the time of the last tool call."""

    def __init__(self, rate: float = RATE) -> None:
        self.called_at = 0.0
        self.rate = rate
        self._slots: list[set[Connection]] = [set() for _ in range(SLOTS)]
        self._newest = 0
        self._frail = 0

    def refuses(self) -> bool:
        """Count a frail request; return whether it is refused."""
        self._frail += 1
        return self._frail % 100 == REFUSED

    def cut_at(self, chunks: int) -> int:
        """Return how many chunks of a frail reply are left when it is cut off; 0 for none."""
        return chunks // 2 if self._frail % 100 == CUT else 0

    def pace(self, stream: Connection, rate: int) -> None:
        """Send the stream's chunks from now on, `rate` a second."""
        self._newest += 1
        slots = min(SLOTS, max(1, round(rate / self.rate)))
        for place in range(slots):
            self._slots[(self._newest + place * SLOTS // slots) % SLOTS].add(stream)

    def forget(self, stream: Connection) -> None:
        """Remove a stream that has ended."""
        for slot in self._slots:
            slot.discard(stream)

    async def tick(self) -> None:
        """Run the clock; late ticks are made up."""
        loop = asyncio.get_running_loop()
        due, slot = loop.time(), 0
        while True:
            due += 1 / (SLOTS * self.rate)
            await asyncio.sleep(max(0.0, due - loop.time()))
            streams = self._slots[slot]
            slot = (slot + 1) % SLOTS
            if streams:
                chunk = stamped_chunk()
                for stream in tuple(streams):
                    stream.step(chunk)


class Connection(asyncio.Protocol):
    """One connection, which stays open from request to request."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = b""
        self._received_at = 0.0
        self._left = 0
        self._at_once = 1
        self._block = b""
        self._end = b""
        self._paused = False
        self._cut_at = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = 0
        self._upstream.forget(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pour()

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._received_at = time.monotonic()
        self._received += data
        head, complete, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if complete and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._answer(head, body)

    def step(self, chunk: bytes) -> None:
        """Send the next paced chunks, or the end."""
        now = min(self._at_once, self._left)
        self._left -= now
        if 0 < self._left < self._cut_at:
            self._transport.abort()
        elif self._left > 0:
            self._transport.write(chunk * now)
        else:
            self._upstream.forget(self)
            self._transport.write(chunk * now + _STOP)

    def _answer(self, head: bytes, body: bytes) -> None:
        script = _MODEL.search(body)
        if script is None:
            models = b'{"object":"list","data":[]}'
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(models), models)
            )
            return
        name, *numbers = script.groups()
        if head.startswith(b"POST /v1/process"):
            self._transport.write(_HEAD)
            self._send(_native(int(numbers[0])), times=1, end=_LAST)
        elif name == b"frail" and self._upstream.refuses():
            self._transport.write(_REFUSED)
        elif name in (b"paced", b"frail"):
            self._cut_at = self._upstream.cut_at(int(numbers[1])) if name == b"frail" else 0
            self._left = int(numbers[1]) - 1
            self._at_once = max(1, round(int(numbers[0]) / (SLOTS * self._upstream.rate)))
            self._transport.write(_HEAD + stamped_chunk())
            self._upstream.pace(self, int(numbers[0]))
        elif name == b"flood":
            blocks, rest = divmod(int(numbers[0]), BLOCK)
            self._transport.write(_HEAD)
            self._send(_FLOOD, times=blocks, end=_WORD * rest + _STOP)
        elif b'"role":"tool"' in body:
            gap = round((self._received_at - self._upstream.called_at) * 1e6)
            self._transport.write(_HEAD + _text(b"gap %d" % gap) + _STOP)
        else:
            self._transport.write(_HEAD + _CALL)
            self._upstream.called_at = time.monotonic()

    def _send(self, block: bytes, times: int, end: bytes) -> None:
        self._block, self._left, self._end = block, times, end
        self._pour()

    def _pour(self) -> None:
        while self._left and not self._paused:
            self._left -= 1
            self._transport.write(self._block)
        if not self._left and self._end:
            self._transport.write(self._end)
            self._end = b""


@cache
def _native(deltas: int) -> bytes:
    """Return a turn in Antiphon's own events."""
    run = b'"run_id":"run_0"'
    lines = [
        b'{"type":"run.status",%b,"thread_id":"thread_0","status":"queued"}' % run,
        b'{"type":"run.status",%b,"thread_id":"thread_0","status":"in_progress"}' % run,
        *[b'{"type":"text.delta","text":"a word or "}'] * deltas,
        b'{"type":"run.status",%b,"thread_id":"thread_0","status":"completed"}' % run,
        b'{"type":"turn.ended",%b,"status":"completed"}' % run,
    ]
    return _chunk_body(
        b"".join(
            b"id: %d\nevent: %b\ndata: %b\n\n" % (number, line.split(b'"', 4)[3], line)
            for number, line in enumerate(lines, 1)
        )
    )


async def _serve(rate: float) -> None:
    upstream = Upstream(rate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", 0, backlog=2048)
    address = server.sockets[0].getsockname()
    print(f"listening on http://{address[0]}:{address[1]}", file=sys.stderr, flush=True)
    await upstream.tick()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) if len(sys.argv) > 1 else RATE))
