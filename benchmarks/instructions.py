"""Instructions per chunk and per request, counted by callgrind: the same on a busy machine.

Slow, and valgrind must be there: so only by name, `python -m benchmarks instructions`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench
from benchmarks.children import Child, address_said
from benchmarks.load import Record, Target, flood, stream
from benchmarks.report import Figure, Row, row

_COLLECTED = re.compile(rb"Collected : (\d+)")
_START_SECONDS = 180.0  # everything is some fifty times slower


async def measure(bench: Bench) -> list[Row]:
    """The difference between a server that did some work, and one that did not."""
    if shutil.which("valgrind") is None:
        return []
    chunks, requests = bench.pick(6_400, 20_000, 20_000), bench.pick(5, 50, 100)
    paced = bench.pick(50, 250, 500)

    async def rest(_: Target) -> None:
        """Nothing more than what all of them do."""

    async def pour(target: Target) -> None:
        await flood(target, chunks)

    async def ask(target: Target) -> None:
        await flood(target, 2, times=requests)

    async def drip(target: Target) -> None:
        reading = await stream(target, f"paced-50-{paced}", Record(), paced)
        await reading.ended

    async with bench.upstream() as upstream:
        base = await _count(bench, upstream, rest)
        poured = await _count(bench, upstream, pour) - base
        asked = await _count(bench, upstream, ask) - base
        dripped = await _count(bench, upstream, drip) - base
    each_request = asked / requests
    return [
        row(
            "instructions per chunk, flood",
            Figure((poured / chunks,), ""),
            target="at most 32,000",
            at_most=32_000,
        ),
        row(
            "instructions per chunk, paced, one stream",
            Figure(((dripped - each_request) / paced,), ""),
            target="at most 130,000",
            at_most=130_000,
        ),
        row(
            "instructions per request",
            Figure((each_request,), ""),
            target="at most 1,500,000",
            at_most=1_500_000,
        ),
    ]


async def _count(bench: Bench, upstream: Target, work: Callable[[Target], Awaitable[None]]) -> int:
    """Instructions of a server from its start to its end."""
    command = bench.serving(upstream.child.address + "/v1")
    out = f"--callgrind-out-file={bench.folder / 'callgrind'}"
    process = await asyncio.create_subprocess_exec(
        *("valgrind", "--tool=callgrind", out, *command),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            target = Target(
                "antiphon", Child(process.pid, await address_said(process), 0.0), "/v1/process"
            )
            await flood(target, 640)
            await work(target)
            process.send_signal(signal.SIGTERM)
            found = _COLLECTED.search(await process.stderr.read())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if found is None:
        raise RuntimeError("callgrind has counted nothing")
    return int(found[1])
