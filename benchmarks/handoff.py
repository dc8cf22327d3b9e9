"""From the last chunk of turn one to the first byte that the model's server sees of turn two.

Between them: the call is kept, handed out, run (it does nothing), its output kept, the next turn
asked for, claimed, and its context read. The fake server measures it, and turn two says the gap.

And what a round trip of two turns costs where many clients are busy, in the SDK and in the server;
and how much longer than one tool several take that run side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from antiphon import AsyncClient, Client, Functions, Settings, TextDelta, ToolCall, ToolProcessor
from benchmarks.bench import Bench
from benchmarks.load import Target
from benchmarks.report import Figure, Row, row
from benchmarks.resources import used


def now() -> str:
    """Return the current time."""
    return "noon"


AT_ONCE = 8
CLIENTS = 16


async def measure(bench: Bench) -> list[Row]:
    """A conversation of two turns, over and over, by each kind of client."""
    times = bench.pick(1, 15, 40)
    async with bench.upstream() as upstream, bench.antiphon(upstream) as antiphon:
        settings = Settings(
            model="tool",
            base_url=upstream.child.address + "/v1",
            database=f"sqlite:///{bench.folder / 'embedded.db'}",
        )
        embedded = _sync(Client(settings=settings), times)
        embedded_async = await _async(AsyncClient(settings=settings), times)
        http = _sync(Client(antiphon.child.address), times)
        http_async = await _async(AsyncClient(antiphon.child.address), times)
        crowd = [await _crowd(antiphon, bench.pick(1, 5, 20)) for _ in range(bench.pick(1, 1, 3))]
    return [
        row("embedded, Client", embedded, target="at most 15 ms", at_most=15),
        row("embedded, AsyncClient", embedded_async, target="at most 15 ms", at_most=15),
        row("over HTTP, Client", http, target="at most 25 ms", at_most=25),
        row("over HTTP, AsyncClient", http_async, target="at most 25 ms", at_most=25),
        row(f"round trips a second, {CLIENTS} clients", _figure("trips/s", "per_second", crowd)),
        row("CPU of a round trip in the SDK", _figure("ms", "sdk", crowd)),
        row("CPU of a round trip in the server", _figure("ms", "server", crowd)),
        row(
            f"{AT_ONCE} tools of a second each, beyond that second",
            await _beyond(bench.pick(0.01, 1.0, 1.0), bench.pick(1, 3, 5)),
            target="at most 50 ms",
            at_most=50,
        ),
    ]


class _Trips(NamedTuple):
    """Round trips a second, and milliseconds of processor time for each, on both sides."""

    per_second: float
    sdk: float
    server: float


async def _crowd(server: Target, times: int) -> _Trips:
    """Let many tasks of one client go through their hand-offs side by side."""

    async def converse() -> None:
        for _ in range(times):
            events = client.converse("what time is it?", model="tool", tools=[now])
            assert [event async for event in events]

    async with AsyncClient(server.child.address) as client:
        await asyncio.gather(*(converse() for _ in range(CLIENTS)))  # connections are open now
        before = server.child.cpu()
        with used() as usage:
            await asyncio.gather(*(converse() for _ in range(CLIENTS)))
        cpu = server.child.cpu() - before
    trips = times * CLIENTS
    return _Trips(trips / usage.seconds, usage.cpu / trips * 1e3, cpu / trips * 1e3)


def _figure(unit: str, name: str, seen: Sequence[_Trips]) -> Figure:
    return Figure(tuple(getattr(each, name) for each in seen), unit)


async def _beyond(seconds: float, times: int) -> Figure:
    """Measure tools side by side, each in a thread that waits so long."""

    def wait() -> str:
        time.sleep(seconds)
        return "waited"

    calls = [ToolCall(f"c{number}", "wait", "{}") for number in range(AT_ONCE)]
    beyond: list[float] = []
    for _ in range(times):
        processor = ToolProcessor(Functions([wait]), at_once=AT_ONCE)
        began = time.monotonic()
        results = [result async for _, result in processor.process_tool_calls("run", calls)]
        beyond.append((time.monotonic() - began - seconds) * 1e3)
        assert [result.output for result in results] == ["waited"] * AT_ONCE
    return Figure(tuple(beyond), "ms")


def _sync(client: Client, times: int) -> Figure:
    gaps: list[float] = []
    with client:
        for _ in range(times + 1):
            told = client.converse("what time is it?", model="tool", tools=[now])
            gaps.append(_gap([event.text for event in told if isinstance(event, TextDelta)]))
    return Figure(tuple(gaps[1:]), "ms")


async def _async(client: AsyncClient, times: int) -> Figure:
    gaps: list[float] = []
    async with client:
        for _ in range(times + 1):
            told = client.converse("what time is it?", model="tool", tools=[now])
            gaps.append(_gap([event.text async for event in told if isinstance(event, TextDelta)]))
    return Figure(tuple(gaps[1:]), "ms")


def _gap(said: list[str]) -> float:
    """Milliseconds, from `gap 1234`, which is in microseconds."""
    word, number = "".join(said).split()
    assert word == "gap"
    return int(number) / 1e3
