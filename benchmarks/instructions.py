"""Instructions per chunk and per request, counted by callgrind: the same on a busy machine.

It is slow and needs valgrind, so it runs only by name: `python -m benchmarks instructions`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench
from benchmarks.children import Child, read_address
from benchmarks.load import Record, Target, flood, open_stream
from benchmarks.report import Figure, Row, row

_COLLECTED = re.compile(rb"Collected : (\d+)")
_START_SECONDS = 180.0  # everything is some fifty times slower


async def measure(bench: Bench) -> list[Row]:
    """Measure the difference between a server that did some work and one that did none."""
    if shutil.which("valgrind") is None:
        return []
    chunks, requests = bench.pick(6_400, 20_000, 20_000), bench.pick(5, 50, 100)
    paced = bench.pick(50, 250, 500)

    async def do_nothing(_: Target) -> None:
        """Do nothing but start and stop, as all the others do."""

    async def read_flood(target: Target) -> None:
        await flood(target, chunks)

    async def send_requests(target: Target) -> None:
        await flood(target, 2, times=requests)

    async def read_paced(target: Target) -> None:
        stream = await open_stream(target, f"paced-50-{paced}", Record(), paced)
        await stream.ended

    async with bench.upstream() as upstream:
        base = await _count(bench, upstream, do_nothing)
        flood_count = await _count(bench, upstream, read_flood) - base
        request_count = await _count(bench, upstream, send_requests) - base
        paced_count = await _count(bench, upstream, read_paced) - base
    per_request = request_count / requests
    return [
        row(
            "instructions per chunk, flood",
            Figure((flood_count / chunks,), ""),
            target="at most 32,000",
            at_most=32_000,
        ),
        row(
            "instructions per chunk, paced, one stream",
            Figure(((paced_count - per_request) / paced,), ""),
            target="at most 130,000",
            at_most=130_000,
        ),
        row(
            "instructions per request",
            Figure((per_request,), ""),
            target="at most 1,500,000",
            at_most=1_500_000,
        ),
    ]


async def _count(bench: Bench, upstream: Target, work: Callable[[Target], Awaitable[None]]) -> int:
    """Return the instructions of a server from its start to its end."""
    command = bench.serve_command(upstream.child.address + "/v1")
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
                "antiphon", Child(process.pid, await read_address(process), 0.0), "/v1/process"
            )
            await flood(target, 640)
            await work(target)
            process.send_signal(signal.SIGTERM)
            match = _COLLECTED.search(await process.stderr.read())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if match is None:
        raise RuntimeError("callgrind has counted nothing")
    return int(match[1])
