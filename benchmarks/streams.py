"""Streams of a model through `antiphon serve`, beside servers that only relay them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import openai

from benchmarks.bench import Bench, rounds
from benchmarks.load import Paced, Target, flood, watch_paced_streams
from benchmarks.report import Figure, Row, row
from benchmarks.resources import used

CROWD, FEW = 200, 20
SMOOTH_SECONDS = 0.1
LEVELS = (100, 200, 400, 600, 800, 1200, 1600)


async def measure_paced(bench: Bench) -> list[Row]:
    """Processor time per chunk at 50 chunks a second in each stream."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        relay = await stack.enter_async_context(bench.relay(upstream))
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        usual = await stack.enter_async_context(bench.relay_sdk(upstream))
        many = await _measure_paced(bench, bench.pick(4, CROWD, CROWD), [antiphon, relay])
        few = await _measure_paced(bench, bench.pick(2, FEW, FEW), [antiphon, relay, usual])
    crowd, alone = f"{CROWD} streams", f"{FEW} streams"
    return [
        row(
            f"CPU per chunk, {crowd}",
            many[antiphon.name].cpu,
            "bare relay",
            many[relay.name].cpu,
            target="at most 1.5 times",
            ratio_at_most=1.5,
        ),
        row(f"CPU per 1,000 events, {crowd}", many[antiphon.name].cpu_ms_per_1000),
        row(f"lag p50, {crowd}", many[antiphon.name].p50, "bare relay", many[relay.name].p50),
        row(f"lag p99, {crowd}", many[antiphon.name].p99, "bare relay", many[relay.name].p99),
        row(
            f"RSS, {crowd}",
            many[antiphon.name].rss,
            "bare relay",
            many[relay.name].rss,
            target="at most 80 MB",
            at_most=80,
        ),
        row(
            f"CPU per chunk, {alone}",
            few[antiphon.name].cpu,
            "bare relay",
            few[relay.name].cpu,
            target="at most 1.5 times",
            ratio_at_most=1.5,
        ),
        row(
            f"CPU per chunk, {alone}",
            few[antiphon.name].cpu,
            usual.name,
            few[usual.name].cpu,
            target="at most a sixth",
            ratio_at_most=1 / 6,
        ),
    ]


@dataclass(frozen=True)
class _Crowd:
    """Values of the rounds of one server."""

    seen: Sequence[Paced]

    @property
    def cpu(self) -> Figure:
        return Figure(tuple(each.cpu_per_chunk for each in self.seen), "µs")

    @property
    def cpu_ms_per_1000(self) -> Figure:
        return Figure(tuple(each.cpu_per_chunk for each in self.seen), "ms")

    @property
    def p50(self) -> Figure:
        return Figure(tuple(each.lag_p50 * 1e3 for each in self.seen), "ms")

    @property
    def p99(self) -> Figure:
        return Figure(tuple(each.lag_p99 * 1e3 for each in self.seen), "ms")

    @property
    def rss(self) -> Figure:
        return Figure(tuple(each.rss for each in self.seen), "MB")


async def _measure_paced(bench: Bench, count: int, targets: Sequence[Target]) -> dict[str, _Crowd]:
    seconds = bench.pick(0.2, 1.2, 3.0)
    seen: dict[str, list[Paced]] = {target.name: [] for target in targets}
    for turn in range(bench.pick(1, 1, 3)):
        for place in range(len(targets)):
            target = targets[(place + turn) % len(targets)]
            seen[target.name].append(await watch_paced_streams(target, count, seconds))
    return {name: _Crowd(each) for name, each in seen.items()}


async def measure_flood(bench: Bench) -> list[Row]:
    """Chunks a second, and what each costs, where a model is faster than anybody reads."""
    chunks, through_sdk = bench.pick(640, 64_000, 64_000), bench.pick(64, 2_000, 4_000)
    times = bench.pick(1, 3, 7)
    cpu: dict[str, list[float]] = {}

    async def speed(target: Target) -> float:
        seen = await flood(target, chunks)
        cpu.setdefault(target.name, []).append(seen.cpu_per_chunk)
        return seen.per_second

    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        relay = await stack.enter_async_context(bench.relay(upstream))
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        for target in (upstream, relay, antiphon):
            await flood(target, 640)
        direct, handed_on, ours = await rounds(
            times, speed, [upstream, relay, antiphon], "chunks/s"
        )
        url = upstream.child.address + "/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            await _loop(client, 64)
            usual = [await _loop(client, through_sdk) for _ in range(times)]
    sdk_speed = Figure(tuple(each[0] for each in usual), "chunks/s")
    sdk_cpu = Figure(tuple(each[1] for each in usual), "µs")
    return [
        row(
            "flood, antiphon",
            ours,
            "openai SDK's loop",
            sdk_speed,
            target="at least 40 times",
            ratio_at_least=40,
        ),
        row(
            "CPU per chunk in a flood, antiphon",
            Figure(tuple(cpu[antiphon.name]), "µs"),
            "openai SDK's loop",
            sdk_cpu,
            target="at most 5 µs",
            at_most=5,
        ),
        row("flood, bare relay", handed_on, "openai SDK's loop", sdk_speed),
        row("flood, read directly", direct, "openai SDK's loop", sdk_speed),
    ]


async def _loop(client: openai.AsyncOpenAI, chunks: int) -> tuple[float, float]:
    """The loop that its documentation shows: chunks a second, and microseconds of CPU for each."""
    with used() as usage:
        stream = await client.chat.completions.create(
            model=f"flood-{chunks}", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        said = [text async for chunk in stream if (text := chunk.choices[0].delta.content)]
    assert len(said) == chunks
    return chunks / usage.seconds, usage.cpu / chunks * 1e6


async def measure_capacity(bench: Bench) -> list[Row]:
    """The most streams at 50 chunks a second whose chunks and gaps are on time."""
    levels = bench.pick((4,), (200,), LEVELS)
    async with bench.upstream() as upstream:
        async with bench.antiphon(upstream) as antiphon:
            ours = await _capacity(bench, antiphon, levels)
        async with bench.relay(upstream) as relay:
            handed_on = await _capacity(bench, relay, levels)
        most = max(ours.streams, handed_on.streams, levels[0])
        direct = await watch_paced_streams(upstream, most, bench.pick(0.2, 1.2, 3.0))
    return [
        row(
            "streams, p99 of lag and gap under 100 ms",
            Figure((ours.streams,), "streams"),
            "bare relay",
            Figure((handed_on.streams,), "streams"),
            target="at least 800",
            at_least=800,
        ),
        row(
            "lag p99 there",
            Figure((ours.lag * 1e3,), "ms"),
            "bare relay",
            Figure((handed_on.lag * 1e3,), "ms"),
        ),
        row(f"lag p99 of the load itself at {most}", Figure((direct.lag_p99 * 1e3,), "ms")),
    ]


@dataclass(frozen=True)
class _Capacity:
    streams: int
    lag: float


async def _capacity(bench: Bench, target: Target, levels: Sequence[int]) -> _Capacity:
    """Search upward; a level may fail once, for a neighbour on this machine may have been busy."""
    best = _Capacity(0, float("nan"))
    for level in levels:
        for _ in range(bench.pick(1, 1, 2)):
            with suppress(TimeoutError):  # it has not even begun them all
                seen = await watch_paced_streams(target, level, bench.pick(0.2, 1.2, 3.0))
                if not seen.smooth(level, SMOOTH_SECONDS):
                    continue
                best = _Capacity(level, seen.lag_p99)
                break
        else:
            break
    return best
