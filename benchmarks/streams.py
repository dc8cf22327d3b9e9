"""Streams of a model through `antiphon serve`, beside servers that only relay them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import openai

from benchmarks.bench import Bench, rounds
from benchmarks.load import Paced, Target, flood, watch_paced_streams
from benchmarks.report import Figure, Row, row
from benchmarks.resources import measure_usage

CROWD, FEW = 200, 20
SMOOTH_SECONDS = 0.1
LEVELS = (100, 200, 400, 600, 800, 1200, 1600)


async def measure_paced(bench: Bench) -> list[Row]:
    """Measure the processor time per chunk at 50 chunks a second in each stream."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        relay = await stack.enter_async_context(bench.relay(upstream))
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        sdk_relay = await stack.enter_async_context(bench.relay_sdk(upstream))
        many = await _measure_paced(bench, bench.pick(4, CROWD, CROWD), [antiphon, relay])
        few = await _measure_paced(bench, bench.pick(2, FEW, FEW), [antiphon, relay, sdk_relay])
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
            sdk_relay.name,
            few[sdk_relay.name].cpu,
            target="at most a sixth",
            ratio_at_most=1 / 6,
        ),
    ]


@dataclass(frozen=True)
class _Crowd:
    """Measurements of one server, one for each round."""

    measurements: Sequence[Paced]

    @property
    def cpu(self) -> Figure:
        return Figure(tuple(each.cpu_per_chunk for each in self.measurements), "µs")

    @property
    def cpu_ms_per_1000(self) -> Figure:
        return Figure(tuple(each.cpu_per_chunk for each in self.measurements), "ms")

    @property
    def p50(self) -> Figure:
        return Figure(tuple(each.lag_p50 * 1e3 for each in self.measurements), "ms")

    @property
    def p99(self) -> Figure:
        return Figure(tuple(each.lag_p99 * 1e3 for each in self.measurements), "ms")

    @property
    def rss(self) -> Figure:
        return Figure(tuple(each.rss for each in self.measurements), "MB")


async def _measure_paced(bench: Bench, count: int, targets: Sequence[Target]) -> dict[str, _Crowd]:
    seconds = bench.pick(0.2, 1.2, 3.0)
    measurements: dict[str, list[Paced]] = {target.name: [] for target in targets}
    for turn in range(bench.pick(1, 1, 3)):
        for place in range(len(targets)):
            target = targets[(place + turn) % len(targets)]
            measurements[target.name].append(await watch_paced_streams(target, count, seconds))
    return {name: _Crowd(each) for name, each in measurements.items()}


async def measure_flood(bench: Bench) -> list[Row]:
    """Measure chunks a second and the cost of each with a model that is faster than its readers."""
    chunks, sdk_chunks = bench.pick(640, 64_000, 64_000), bench.pick(64, 2_000, 4_000)
    times = bench.pick(1, 3, 7)
    cpu: dict[str, list[float]] = {}

    async def measure_speed(target: Target) -> float:
        result = await flood(target, chunks)
        cpu.setdefault(target.name, []).append(result.cpu_per_chunk)
        return result.per_second

    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        relay = await stack.enter_async_context(bench.relay(upstream))
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        for target in (upstream, relay, antiphon):
            await flood(target, 640)
        direct, relayed, antiphon_speed = await rounds(
            times, measure_speed, [upstream, relay, antiphon], "chunks/s"
        )
        url = upstream.child.address + "/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            await _run_sdk_loop(client, 64)
            sdk_rounds = [await _run_sdk_loop(client, sdk_chunks) for _ in range(times)]
    sdk_speed = Figure(tuple(each[0] for each in sdk_rounds), "chunks/s")
    sdk_cpu = Figure(tuple(each[1] for each in sdk_rounds), "µs")
    return [
        row(
            "flood, antiphon",
            antiphon_speed,
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
        row("flood, bare relay", relayed, "openai SDK's loop", sdk_speed),
        row("flood, read directly", direct, "openai SDK's loop", sdk_speed),
    ]


async def _run_sdk_loop(client: openai.AsyncOpenAI, chunks: int) -> tuple[float, float]:
    """Run the loop of the SDK's documentation; return chunks a second, and µs of CPU for each."""
    with measure_usage() as usage:
        stream = await client.chat.completions.create(
            model=f"flood-{chunks}", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        texts = [text async for chunk in stream if (text := chunk.choices[0].delta.content)]
    assert len(texts) == chunks
    return chunks / usage.seconds, usage.cpu / chunks * 1e6


async def measure_capacity(bench: Bench) -> list[Row]:
    """Find the most streams at 50 chunks a second whose chunks and gaps are on time."""
    levels = bench.pick((4,), (200,), LEVELS)
    async with bench.upstream() as upstream:
        async with bench.antiphon(upstream) as antiphon:
            antiphon_capacity = await _find_capacity(bench, antiphon, levels)
        async with bench.relay(upstream) as relay:
            relay_capacity = await _find_capacity(bench, relay, levels)
        most = max(antiphon_capacity.streams, relay_capacity.streams, levels[0])
        direct_streams = await watch_paced_streams(upstream, most, bench.pick(0.2, 1.2, 3.0))
    return [
        row(
            "streams, p99 of lag and gap under 100 ms",
            Figure((antiphon_capacity.streams,), "streams"),
            "bare relay",
            Figure((relay_capacity.streams,), "streams"),
            target="at least 800",
            at_least=800,
        ),
        row(
            "lag p99 there",
            Figure((antiphon_capacity.lag * 1e3,), "ms"),
            "bare relay",
            Figure((relay_capacity.lag * 1e3,), "ms"),
        ),
        row(f"lag p99 of the load itself at {most}", Figure((direct_streams.lag_p99 * 1e3,), "ms")),
    ]


@dataclass(frozen=True)
class _Capacity:
    streams: int
    lag: float


async def _find_capacity(bench: Bench, target: Target, levels: Sequence[int]) -> _Capacity:
    """Search upward; each level has a second try, as other programs may have been busy."""
    best = _Capacity(0, float("nan"))
    for level in levels:
        for _ in range(bench.pick(1, 1, 2)):
            with suppress(TimeoutError):  # not all streams started in time
                paced = await watch_paced_streams(target, level, bench.pick(0.2, 1.2, 3.0))
                if not paced.is_smooth(level, SMOOTH_SECONDS):
                    continue
                best = _Capacity(level, paced.lag_p99)
                break
        else:
            break
    return best
