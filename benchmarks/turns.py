"""Turns of one token, one after the other by each of many clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from benchmarks.bench import Bench
from benchmarks.load import PATIENCE, Target
from benchmarks.report import Figure, Row, row

CLIENTS = 32
MODEL = "flood-1"
_END = b"0\r\n\r\n"


async def measure(bench: Bench) -> list[Row]:
    """Processor time of a turn and turns a second, beside servers that keep nothing."""
    seen: dict[str, list[Turns]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        targets = [
            await stack.enter_async_context(bench.antiphon(upstream)),
            await stack.enter_async_context(bench.relay(upstream)),
            await stack.enter_async_context(bench.relay_sdk(upstream)),
        ]
        for turn in range(bench.pick(1, 1, 3)):
            for place in range(len(targets)):
                target = targets[(place + turn) % len(targets)]
                watched = await watch_turns(target, CLIENTS, bench.pick(0.2, 1.0, 3.0))
                seen.setdefault(target.name, []).append(watched)
    ours, relay, usual = (seen[target.name] for target in targets)
    return [
        row("CPU of a turn of one token", _cpu(ours), "bare relay", _cpu(relay)),
        row(
            "CPU of a turn of one token",
            _cpu(ours),
            targets[-1].name,
            _cpu(usual),
            target="at most 0.7 times",
            ratio_at_most=0.7,
        ),
        row(f"turns a second, {CLIENTS} clients", _speed(ours), "bare relay", _speed(relay)),
        row(
            f"turns a second, {CLIENTS} clients",
            _speed(ours),
            targets[-1].name,
            _speed(usual),
            target="at least 1.8 times",
            ratio_at_least=1.8,
        ),
    ]


class Turns:
    """Turns of some clients in a while; times in seconds."""

    def __init__(self, turns: int, seconds: float, cpu: float) -> None:
        self.per_second = turns / seconds
        self.cpu = cpu / turns


async def watch_turns(target: Target, clients: int, seconds: float) -> Turns:
    """Let each client ask again as soon as it has its answer, and count the answers."""
    request = target.request(MODEL)
    loop = asyncio.get_running_loop()
    asking = [
        (await loop.create_connection(lambda: _Client(request), "127.0.0.1", target.child.port))[1]
        for _ in range(clients)
    ]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.answered for each in asking))  # each way has been gone once
        before, began = sum(each.answers for each in asking), time.monotonic()
        cpu, turns = target.child.cpu(), 0
        while not turns:
            await asyncio.sleep(seconds)
            turns = sum(each.answers for each in asking) - before
        took, cpu = time.monotonic() - began, target.child.cpu() - cpu
        await asyncio.gather(*(each.stop() for each in asking))
    return Turns(turns, took, cpu)


class _Client(asyncio.Protocol):
    """Sends its request, waits for the end of the answer, and sends it again on the same line."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self._request = request
        self._stopping = False
        self._tail = b""
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self.answered, self._stopped):
            if not waiting.done():
                waiting.set_exception(ConnectionError("a client was cut off"))
                waiting.exception()  # somebody may wait for it, nobody has to

    def data_received(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-len(_END) :]
        if self._tail != _END:
            return
        self._tail = b""
        self.answers += 1
        if not self.answered.done():
            self.answered.set_result(None)
        if not self._stopping:
            self._transport.write(self._request)
        elif not self._stopped.done():
            self._stopped.set_result(None)

    async def stop(self) -> None:
        """Ask no more, and wait for the answer that is on its way."""
        self._stopping = True
        await self._stopped
        self._transport.abort()


def _cpu(seen: Sequence[Turns]) -> Figure:
    return Figure(tuple(each.cpu * 1e3 for each in seen), "ms")


def _speed(seen: Sequence[Turns]) -> Figure:
    return Figure(tuple(each.per_second for each in seen), "turns/s")
