"""Many streams through a cluster on one machine, beside one process with SQLite.

Servers, PostgreSQL, Redis, the model server and the readers share the machine's cores.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.children import Child, child
from benchmarks.load import Arrival, Paced, Target, watch_paced_streams
from benchmarks.report import Figure, Row, row
from tests.support.services.postgres import Postgres, programs
from tests.support.services.redis import Redis, program

STREAMS, RATE = 1000, 30
OPENING = 30.0  # time limit for starting all streams; none may have ended by then
ONE_BY_ONE = Arrival(1, 0.02)  # as people arrive
AS_SHIPPED: dict[str, str] = {}  # defaults: a commit is on disk before it is acknowledged
WORKERS = 2


@dataclass(frozen=True)
class _Measurement:
    """Result of one round: the streams, the server's memory before, and the database's CPU."""

    streams: int
    paced: Paced
    rss_at_rest: float
    database_cpu: float

    @property
    def delivered(self) -> float:
        """Share of the tokens that arrived."""
        return self.paced.chunks / (self.streams * RATE * self.paced.seconds)

    @property
    def database_cpu_per_chunk(self) -> float:
        """Microseconds of processor time."""
        return self.database_cpu / self.paced.chunks * 1e6

    @property
    def kilobytes_per_stream(self) -> float:
        """Memory of the server that each stream took."""
        return (self.paced.rss - self.rss_at_rest) * 1e3 / self.streams


async def measure(bench: Bench) -> list[Row]:
    """Measure streams of 30 tokens a second each, on the cluster and on one process."""
    if programs() is None or program() is None:
        return [row("PostgreSQL or Redis is not here", Figure((0,), ""))]
    streams = bench.pick(4, 200, STREAMS)
    cluster: list[_Measurement] = []
    alone: list[_Measurement] = []
    for _ in range(bench.pick(1, 1, 3)):
        async with bench.upstream(RATE) as upstream:
            async with bench.antiphon(upstream) as target:
                alone.append(await _measure_round(bench, target, None, streams))
            with _run_services(bench) as (postgres, redis):
                async with _run_cluster(bench, upstream, postgres, redis) as target:
                    database = Child(postgres.service.pid, "", 0)
                    cluster.append(await _measure_round(bench, target, database, streams))
    return _rows(streams, cluster, alone)


async def _measure_round(
    bench: Bench, target: Target, database: Child | None, streams: int
) -> _Measurement:
    # The first use loads modules and opens connections.
    await watch_paced_streams(target, 4, 0.2, RATE)
    rss_at_rest = target.child.rss()
    seconds = bench.pick(0.2, 2.0, 5.0)
    opening = bench.pick(None, None, OPENING)
    paced = await watch_paced_streams(target, streams, seconds, RATE, opening, database, ONE_BY_ONE)
    return _Measurement(streams, paced, rss_at_rest, paced.database_cpu)


def _rows(streams: int, cluster: list[_Measurement], alone: list[_Measurement]) -> list[Row]:
    def compare(what: str, unit: str, path: str, factor: float = 1.0) -> Row:
        clustered, single = (
            Figure(tuple(_attribute(each, path) * factor for each in measurements), unit)
            for measurements in (cluster, alone)
        )
        return row(
            f"{what}, {streams} streams at {RATE}/s", clustered, "one process, SQLite", single
        )

    return [
        compare("CPU per token in the servers", "µs", "paced.cpu_per_chunk"),
        row(
            "CPU per token in PostgreSQL",
            Figure(tuple(each.database_cpu_per_chunk for each in cluster), "µs"),
        ),
        compare("lag p50", "ms", "paced.lag_p50", 1e3),
        compare("lag p99", "ms", "paced.lag_p99", 1e3),
        compare("tokens that came", "%", "delivered", 100),
        compare("memory for each stream", "kB", "kilobytes_per_stream"),
    ]


def _attribute(measurement: _Measurement, path: str) -> float:
    value: object = measurement
    for name in path.split("."):
        value = getattr(value, name)
    assert isinstance(value, float)
    return value


@asynccontextmanager
async def _run_cluster(
    bench: Bench, upstream: Target, postgres: Postgres, redis: Redis
) -> AsyncIterator[Target]:
    options = {
        "--redis": redis.address,
        "--workers": str(WORKERS),
        "--database": await postgres.create(),
    }
    async with child(*bench.serve_command(f"{upstream.child.address}/v1", **options)) as process:
        yield Target(f"{WORKERS} workers, PostgreSQL, Redis", process, "/v1/process")


@contextmanager
def _run_services(bench: Bench) -> Iterator[tuple[Postgres, Redis]]:
    for folder in (bench.folder, *bench.folder.parents[:1]):
        folder.chmod(folder.stat().st_mode | 0o011)  # PostgreSQL runs as another user
    home = Path(bench.folder) / f"services-{os.urandom(4).hex()}"
    postgres, redis = Postgres(home / "postgres", AS_SHIPPED), Redis(home / "redis")
    with ExitStack() as stack:
        for service in (postgres, redis):
            stack.callback(service.stop)
            service.start()
        yield postgres, redis
