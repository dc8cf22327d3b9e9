"""From the last chunk of turn one to the first byte that the model's server sees of turn two.

Between them: the call is kept, handed out, run (it does nothing), its output kept, the next turn
asked for, claimed, and its context read. The fake server measures it, and turn two says the gap.

And how much longer than one tool several take that run side by side.
"""

from __future__ import annotations

import time

from antiphon import AsyncClient, Client, Functions, Settings, TextDelta, ToolCall, ToolProcessor
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, row


def now() -> str:
    """Return the current time."""
    return "noon"


AT_ONCE = 8


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
    return [
        row("embedded, Client", embedded, target="at most 15 ms", at_most=15),
        row("embedded, AsyncClient", embedded_async, target="at most 15 ms", at_most=15),
        row("over HTTP, Client", http, target="at most 25 ms", at_most=25),
        row("over HTTP, AsyncClient", http_async, target="at most 25 ms", at_most=25),
        row(
            f"{AT_ONCE} tools of a second each, beyond that second",
            await _beyond(bench.pick(0.01, 1.0, 1.0), bench.pick(1, 3, 5)),
            target="at most 50 ms",
            at_most=50,
        ),
    ]


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
