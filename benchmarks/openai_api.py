"""Streams of OpenAI's API and of page protocols through `antiphon serve`, beside its native API.

With PEERS=1 in the environment also beside LiteLLM's proxy and OGX, which it installs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from statistics import median

import pytest

from benchmarks.bench import Bench, rounds
from benchmarks.load import Target, first_token, flood, watch_paced_streams
from benchmarks.report import Figure, Row, row

STREAMS = 50
WIRES = {  # page protocols: each request starts a new chat
    "Chat Completions": "/openai/v1/chat/completions",
    "Responses": "/openai/v1/responses",
    "AI SDK": "/ai-sdk/v6/chat",
    "AG-UI": "/ag-ui/v1/run",
}
NATIVE = "native API"
CHAT, RESPONSES = 1, 2
"""Indexes of these wires among the targets; the native API is 0."""


async def measure(bench: Bench) -> list[Row]:
    """Measure the cost that each wire adds to a chunk and to the first token."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        antiphon = await stack.enter_async_context(bench.antiphon(upstream))
        native = replace(antiphon, name=NATIVE)
        targets = [native, *(replace(antiphon, name=n, path=path) for n, path in WIRES.items())]
        for target in targets:
            await flood(target, 640)
        flood_costs = await _measure_flood(bench, targets)
        if os.environ.get("PEERS") == "1":
            targets += await _open_peers(bench, upstream, stack)
        paced_costs = await _measure_paced(bench, targets)
        first_token_delays = await _measure_first_token(bench, targets)
    rows = [
        *_compare_peers("CPU per chunk", targets, paced_costs),
        *_compare_peers("first token", targets, first_token_delays),
    ]
    for place, name in enumerate(WIRES, start=1):
        is_openai = place in (CHAT, RESPONSES)
        added = zip(first_token_delays[place].values, first_token_delays[0].values, strict=True)
        rows += [
            row(
                f"CPU per chunk, {STREAMS} streams, {name}",
                paced_costs[place],
                NATIVE,
                paced_costs[0],
                target="at most 1.2 times",
                ratio_at_most=1.2,
            ),
            row(f"CPU per chunk in a flood, {name}", flood_costs[place], NATIVE, flood_costs[0]),
            row(
                f"added to the first token, {name}",
                Figure(
                    tuple(wire_delay - native_delay for wire_delay, native_delay in added), "ms"
                ),
                NATIVE,
                first_token_delays[0],
                target="at most 0.5 ms" if is_openai else "",
                at_most=0.5 if is_openai else None,
            ),
        ]
    return rows


async def _open_peers(bench: Bench, upstream: Target, stack: AsyncExitStack) -> list[Target]:
    """Return each peer with each wire that it speaks; what cannot be installed is left out."""
    peers: list[Target] = []
    for open_peer, paths in (
        (bench.litellm, ["/v1/chat/completions"]),
        (bench.ogx, ["/v1/chat/completions", "/v1/responses"]),
    ):
        try:
            peer = await stack.enter_async_context(open_peer(upstream))
        except pytest.skip.Exception as reason:
            print(reason, file=sys.stderr)
            continue
        peers += [replace(peer, path=path) for path in paths]
    for peer in peers:
        await first_token(peer)
    return peers


def _compare_peers(what: str, targets: Sequence[Target], measured: Sequence[Figure]) -> list[Row]:
    """Return each of our wires beside the peers that speak it."""
    rows: list[Row] = []
    for place, peer in enumerate(targets):
        if place > len(WIRES):
            wire = RESPONSES if peer.path.endswith("/responses") else CHAT
            name = targets[wire].name
            rows.append(row(f"{what}, {name}", measured[wire], peer.name, measured[place]))
    return rows


async def _measure_paced(bench: Bench, targets: Sequence[Target]) -> list[Figure]:
    streams, seconds = bench.pick(2, STREAMS, STREAMS), bench.pick(0.2, 1.2, 3.0)

    async def cost(target: Target) -> float:
        return (await watch_paced_streams(target, streams, seconds)).cpu_per_chunk

    return await rounds(bench.pick(1, 1, 5), cost, targets, "µs")


async def _measure_flood(bench: Bench, targets: Sequence[Target]) -> list[Figure]:
    chunks = bench.pick(640, 16_000, 32_000)

    async def cost(target: Target) -> float:
        return (await flood(target, chunks)).cpu_per_chunk

    return await rounds(bench.pick(1, 3, 7), cost, targets, "µs")


async def _measure_first_token(bench: Bench, targets: Sequence[Target]) -> list[Figure]:
    """Send requests to all targets in turn, so that a busy moment affects all alike."""
    medians: list[list[float]] = [[] for _ in targets]
    for _ in range(bench.pick(1, 2, 7)):
        delays: list[list[float]] = [[] for _ in targets]
        for turn in range(bench.pick(2, 20, 40)):
            for place in range(len(targets)):
                index = (place + turn) % len(targets)
                delays[index].append(await first_token(targets[index]))
        for each, target_delays in zip(medians, delays, strict=True):
            each.append(median(target_delays) * 1e3)
    return [Figure(tuple(each), "ms") for each in medians]
