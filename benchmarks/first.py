"""Delay of the first token through `antiphon serve`, which stores everything before it."""

from __future__ import annotations

from statistics import median

from benchmarks.bench import Bench, rounds
from benchmarks.load import Target, first_token
from benchmarks.report import Figure, Row, row


async def measure(bench: Bench) -> list[Row]:
    """Measure requests that create thread, message and run; the model answers at once."""
    times = bench.pick(2, 20, 40)

    async def median_delay(target: Target) -> float:
        return median([await first_token(target) for _ in range(times)]) * 1e3

    async with (
        bench.upstream() as upstream,
        bench.relay(upstream) as relay,
        bench.antiphon(upstream) as antiphon,
    ):
        targets = [upstream, relay, antiphon]
        for target in targets:
            await first_token(target)
        cpu = antiphon.child.cpu()
        direct_delay, relay_delay, antiphon_delay = await rounds(
            bench.pick(1, 3, 7), median_delay, targets, "ms"
        )
        cpu = antiphon.child.cpu() - cpu
    requests = times * len(antiphon_delay.values)
    added_delay = Figure(
        tuple(a - b for a, b in zip(antiphon_delay.values, direct_delay.values, strict=True)), "ms"
    )
    return [
        row(
            "added to the first token",
            added_delay,
            "read directly",
            direct_delay,
            target="at most 1.5 ms",
            at_most=1.5,
        ),
        row("first token, bare relay", relay_delay, "read directly", direct_delay),
        row("CPU per request of two chunks", Figure((cpu / requests * 1e3,), "ms")),
    ]
