"""Streams of the Flask app: many beside a relay and a threaded server, few beside `serve`."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks import load
from benchmarks.bench import PYTHON, Bench
from benchmarks.children import Child, child
from benchmarks.load import Paced, Target, watch_paced_streams
from benchmarks.report import Figure, Row, row

STREAMS, RATE = 200, 30  # one process carries so much, with model and readers on the same machine
FEW = 20  # streams of the usual rate; with few, the cost of the page's wire shows best
OPENING = 20.0  # time limit for starting all streams; none may have ended by then
PATH = "/api/messages/process"
THREADS = 600
APPLICATION = "antiphon.web.wsgi:application(servers=False)"


async def measure(bench: Bench) -> list[Row]:
    """Measure streams of 30 tokens a second each, read as a page reads them."""
    streams = bench.pick(4, STREAMS, STREAMS)
    seconds = bench.pick(0.2, 2.0, 4.0)
    measurements: dict[str, list[Paced]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream(RATE))
        relay = await stack.enter_async_context(bench.relay(upstream))
        app = await stack.enter_async_context(_run_up(bench, upstream))
        threads = await stack.enter_async_context(_run_gunicorn(bench, upstream))
        for _ in range(bench.pick(1, 1, 3)):
            for target in (app, relay, threads):
                measurements.setdefault(target.name, []).append(
                    await watch_paced_streams(
                        target, streams, seconds, RATE, bench.pick(None, OPENING, OPENING)
                    )
                )
    return [
        each
        for other in (relay, threads)
        for each in _rows(streams, app.name, other.name, measurements)
    ] + await _measure_few(bench)


async def _measure_few(bench: Bench) -> list[Row]:
    """Compare the same replies through the page's wire and through the native API."""
    seconds = bench.pick(0.2, 1.5, 4.0)
    measurements: dict[str, list[Paced]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        page = await stack.enter_async_context(_run_up(bench, upstream))
        native = await stack.enter_async_context(bench.antiphon(upstream))
        for turn in range(bench.pick(1, 1, 5)):
            for target in (page, native) if turn % 2 else (native, page):
                paced = await watch_paced_streams(target, bench.pick(2, FEW, FEW), seconds)
                measurements.setdefault(target.name, []).append(paced)
    cpu, lag = _summarize_cpu_and_lag(measurements)
    return [
        row(
            f"CPU per chunk, {FEW} streams at {load.RATE}/s",
            cpu[page.name],
            "antiphon serve",
            cpu[native.name],
            target="at most 1.15 times",
            ratio_at_most=1.15,
        ),
        row(
            f"lag p99, {FEW} streams",
            lag[page.name],
            "antiphon serve",
            lag[native.name],
            target="at most 40 ms",
            at_most=40,
        ),
    ]


def _summarize_cpu_and_lag(
    measurements: dict[str, list[Paced]],
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Return the CPU per chunk and the p99 of the lag of each target."""
    cpu = {
        name: _figure([one.cpu_per_chunk for one in each], "µs")
        for name, each in measurements.items()
    }
    lag = {
        name: _figure([one.lag_p99 * 1e3 for one in each], "ms")
        for name, each in measurements.items()
    }
    return cpu, lag


def _rows(streams: int, app: str, other: str, measurements: dict[str, list[Paced]]) -> list[Row]:
    cpu, lag = _summarize_cpu_and_lag(measurements)
    rss = {name: _figure([one.rss for one in each], "MB") for name, each in measurements.items()}
    throughput = {
        name: _figure([one.chunks / one.seconds for one in each], "/s")
        for name, each in measurements.items()
    }
    return [
        row(f"CPU per token, {streams} streams", cpu[app], other, cpu[other]),
        row("lag p99", lag[app], other, lag[other]),
        row("tokens that came", throughput[app], other, throughput[other]),
        row("RSS", rss[app], other, rss[other]),
    ]


def _figure(values: list[float], unit: str) -> Figure:
    return Figure(tuple(values), unit)


@asynccontextmanager
async def _run_up(bench: Bench, upstream: Target) -> AsyncIterator[Target]:
    base_url = f"{upstream.child.address}/v1"
    options = {"--web-streams": "2000"}
    command = [*bench.serve_command(base_url, "up", **options), "--no-servers"]
    async with child(*command, XDG_STATE_HOME=str(bench.folder)) as process:
        yield Target("antiphon up", process, PATH, _session_cookie(process))


@asynccontextmanager
async def _run_gunicorn(bench: Bench, upstream: Target) -> AsyncIterator[Target]:
    environ = {
        "ANTIPHON_BASE_URL": f"{upstream.child.address}/v1",
        "ANTIPHON_MODEL": "flood-1",
        "ANTIPHON_DATABASE": bench.database(),
        "ANTIPHON_MAX_CONCURRENT_RUNS": "4000",
        "ANTIPHON_WEB_STREAMS": "2000",
        "XDG_STATE_HOME": str(Path(bench.folder)),
    }
    flags = ["--threads", str(THREADS), "--worker-connections", "2000", "--no-control-socket"]
    command = [*PYTHON, "gunicorn", *flags, "--bind", "127.0.0.1:0", APPLICATION]
    async with child(*command, **environ) as process:
        yield Target(f"gunicorn, {THREADS} threads", process, PATH, _session_cookie(process))


def _session_cookie(process: Child) -> str:
    """Return the cookie that the page sets in a browser."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers["Set-Cookie"]).partition(";")[0]
