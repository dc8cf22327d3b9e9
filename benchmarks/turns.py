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
    """Measure processor time of a turn and turns a second, beside servers that store nothing."""
    turns_of: dict[str, list[Turns]] = {}
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
                turns = await watch_turns(target, CLIENTS, bench.pick(0.2, 1.0, 3.0))
                turns_of.setdefault(target.name, []).append(turns)
    antiphon, relay, sdk_relay = (turns_of[target.name] for target in targets)
    return [
        row("CPU of a turn of one token", _cpu(antiphon), "bare relay", _cpu(relay)),
        row(
            "CPU of a turn of one token",
            _cpu(antiphon),
            targets[-1].name,
            _cpu(sdk_relay),
            target="at most 0.7 times",
            ratio_at_most=0.7,
        ),
        row(f"turns a second, {CLIENTS} clients", _speed(antiphon), "bare relay", _speed(relay)),
        row(
            f"turns a second, {CLIENTS} clients",
            _speed(antiphon),
            targets[-1].name,
            _speed(sdk_relay),
            target="at least 1.8 times",
            ratio_at_least=1.8,
        ),
    ]


class Turns:
    """Speed and cost of counted turns; times in seconds."""

    def __init__(self, turns: int, seconds: float, cpu: float) -> None:
        self.per_second = turns / seconds
        self.cpu = cpu / turns


async def watch_turns(target: Target, clients: int, seconds: float) -> Turns:
    """Let each client send its request again after each answer, and count the answers."""
    request = target.request(MODEL)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Client(request), "127.0.0.1", target.child.port))[1]
        for _ in range(clients)
    ]
    async with asyncio.timeout(PATIENCE):
        # The first turn of each client is not counted.
        await asyncio.gather(*(each.answered for each in connections))
        before, began = sum(each.answers for each in connections), time.monotonic()
        cpu, turns = target.child.cpu(), 0
        while not turns:
            await asyncio.sleep(seconds)
            turns = sum(each.answers for each in connections) - before
        elapsed, cpu = time.monotonic() - began, target.child.cpu() - cpu
        await asyncio.gather(*(each.stop() for each in connections))
    return Turns(turns, elapsed, cpu)


class _Client(asyncio.Protocol):
    """Client that sends its request again after each answer, on the same connection."""

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
        for future in (self.answered, self._stopped):
            if not future.done():
                future.set_exception(ConnectionError("a client was cut off"))
                future.exception()  # not every future is awaited; this avoids a warning

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
        """Send no more requests, and wait for the outstanding answer."""
        self._stopping = True
        await self._stopped
        self._transport.abort()


def _cpu(turns: Sequence[Turns]) -> Figure:
    return Figure(tuple(each.cpu * 1e3 for each in turns), "ms")


def _speed(turns: Sequence[Turns]) -> Figure:
    return Figure(tuple(each.per_second for each in turns), "turns/s")
