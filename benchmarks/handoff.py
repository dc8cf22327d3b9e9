"""Time between two turns: from the last chunk of turn one to the first byte of the next request.

In this time the call is stored, handed out and run (it does nothing), its output is stored, the
next turn is requested and claimed, and its context is read. The fake model server measures the time
and returns it as the text of turn two.

Two more measurements: the cost of a round trip of two turns with many busy clients, in the SDK and
in the server; and how much longer several tools side by side take than one.
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
from benchmarks.resources import measure_usage


def now() -> str:
    """Return the current time."""
    return "noon"


AT_ONCE = 8
CLIENTS = 16


async def measure(bench: Bench) -> list[Row]:
    """Measure repeated conversations of two turns with each kind of client."""
    times = bench.pick(1, 15, 40)
    async with bench.upstream() as upstream, bench.antiphon(upstream) as antiphon:
        settings = Settings(
            model="tool",
            base_url=upstream.child.address + "/v1",
            database=f"sqlite:///{bench.folder / 'embedded.db'}",
        )
        embedded = _measure_sync(Client(settings=settings), times)
        embedded_async = await _measure_async(AsyncClient(settings=settings), times)
        http = _measure_sync(Client(antiphon.child.address), times)
        http_async = await _measure_async(AsyncClient(antiphon.child.address), times)
        crowd = [
            await _measure_crowd(antiphon, bench.pick(1, 5, 20)) for _ in range(bench.pick(1, 1, 3))
        ]
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
            await _measure_tool_overhead(bench.pick(0.01, 1.0, 1.0), bench.pick(1, 3, 5)),
            target="at most 50 ms",
            at_most=50,
        ),
    ]


class _Trips(NamedTuple):
    """Round trips a second, and milliseconds of processor time of each on both sides."""

    per_second: float
    sdk: float
    server: float


async def _measure_crowd(server: Target, times: int) -> _Trips:
    """Run conversations of two turns in many tasks of one client side by side."""

    async def converse() -> None:
        for _ in range(times):
            events = client.converse("what time is it?", model="tool", tools=[now])
            assert [event async for event in events]

    async with AsyncClient(server.child.address) as client:
        await asyncio.gather(*(converse() for _ in range(CLIENTS)))  # opens the connections
        before = server.child.cpu()
        with measure_usage() as usage:
            await asyncio.gather(*(converse() for _ in range(CLIENTS)))
        cpu = server.child.cpu() - before
    trips = times * CLIENTS
    return _Trips(trips / usage.seconds, usage.cpu / trips * 1e3, cpu / trips * 1e3)


def _figure(unit: str, name: str, trips: Sequence[_Trips]) -> Figure:
    return Figure(tuple(getattr(each, name) for each in trips), unit)


async def _measure_tool_overhead(seconds: float, times: int) -> Figure:
    """Measure tools side by side, each waiting for `seconds` in its own thread."""

    def wait() -> str:
        time.sleep(seconds)
        return "waited"

    calls = [ToolCall(f"c{number}", "wait", "{}") for number in range(AT_ONCE)]
    overheads: list[float] = []
    for _ in range(times):
        processor = ToolProcessor(Functions([wait]), at_once=AT_ONCE)
        began = time.monotonic()
        results = [result async for _, result in processor.process_tool_calls("run", calls)]
        overheads.append((time.monotonic() - began - seconds) * 1e3)
        assert [result.output for result in results] == ["waited"] * AT_ONCE
    return Figure(tuple(overheads), "ms")


def _measure_sync(client: Client, times: int) -> Figure:
    gaps: list[float] = []
    with client:
        for _ in range(times + 1):
            events = client.converse("what time is it?", model="tool", tools=[now])
            gaps.append(
                _parse_gap([event.text for event in events if isinstance(event, TextDelta)])
            )
    return Figure(tuple(gaps[1:]), "ms")


async def _measure_async(client: AsyncClient, times: int) -> Figure:
    gaps: list[float] = []
    async with client:
        for _ in range(times + 1):
            events = client.converse("what time is it?", model="tool", tools=[now])
            gaps.append(
                _parse_gap([event.text async for event in events if isinstance(event, TextDelta)])
            )
    return Figure(tuple(gaps[1:]), "ms")


def _parse_gap(texts: list[str]) -> float:
    """Return the milliseconds of a text such as `gap 1234`, which is in microseconds."""
    word, number = "".join(texts).split()
    assert word == "gap"
    return int(number) / 1e3
