"""Delay of the first token through `antiphon serve`, with everything stored before it."""

from __future__ import annotations

from statistics import median

from benchmarks.bench import Bench, rounds
from benchmarks.load import Target, first_token
from benchmarks.report import Figure, Row, row


async def measure(bench: Bench) -> list[Row]:
    """Thread, message and run are made by the request itself; the chunk comes at once."""
    times = bench.pick(2, 20, 40)

    async def typical(target: Target) -> float:
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
        direct, handed_on, ours = await rounds(bench.pick(1, 3, 7), typical, targets, "ms")
        cpu = antiphon.child.cpu() - cpu
    requests = times * len(ours.values)
    added = Figure(tuple(a - b for a, b in zip(ours.values, direct.values, strict=True)), "ms")
    return [
        row(
            "added to the first token",
            added,
            "read directly",
            direct,
            target="at most 1.5 ms",
            at_most=1.5,
        ),
        row("first token, bare relay", handed_on, "read directly", direct),
        row("CPU per request of two chunks", Figure((cpu / requests * 1e3,), "ms")),
    ]
