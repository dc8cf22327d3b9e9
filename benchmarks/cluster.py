"""Many streams through a cluster on one machine, beside one process with SQLite.

Servers, PostgreSQL, Redis, the model server and who reads share the machine's cores.
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
OPENING = 30.0  # seconds until all are begun, at most: none of them may have ended by then
ONE_BY_ONE = Arrival(1, 0.02)  # as people come
AS_SHIPPED: dict[str, str] = {}  # each commit is on disk before it is told
WORKERS = 2


@dataclass(frozen=True)
class _Seen:
    """One round: what the streams saw, and what the rest of the machine spent on them."""

    streams: int
    paced: Paced
    at_rest: float
    database_cpu: float

    @property
    def whole(self) -> float:
        """The share of the tokens that came."""
        return self.paced.chunks / (self.streams * RATE * self.paced.seconds)

    @property
    def database_cpu_per_chunk(self) -> float:
        """Microseconds."""
        return self.database_cpu / self.paced.chunks * 1e6

    @property
    def kilobytes(self) -> float:
        """Of the server's memory for each stream."""
        return (self.paced.rss - self.at_rest) * 1e3 / self.streams


async def measure(bench: Bench) -> list[Row]:
    """Streams of 30 tokens a second each, read from both."""
    if programs() is None or program() is None:
        return [row("PostgreSQL or Redis is not here", Figure((0,), ""))]
    streams = bench.pick(4, 200, STREAMS)
    cluster: list[_Seen] = []
    alone: list[_Seen] = []
    for _ in range(bench.pick(1, 1, 3)):
        async with bench.upstream(RATE) as upstream:
            async with bench.antiphon(upstream) as target:
                alone.append(await _round(bench, target, None, streams))
            with _services(bench) as (postgres, redis):
                async with _cluster(bench, upstream, postgres, redis) as target:
                    database = Child(postgres.service.pid, "", 0)
                    cluster.append(await _round(bench, target, database, streams))
    return _rows(streams, cluster, alone)


async def _round(bench: Bench, target: Target, database: Child | None, streams: int) -> _Seen:
    await watch_paced_streams(target, 4, 0.2, RATE)  # what is loaded and connected at first use
    at_rest = target.child.rss()
    seconds = bench.pick(0.2, 2.0, 5.0)
    opening = bench.pick(None, None, OPENING)
    seen = await watch_paced_streams(target, streams, seconds, RATE, opening, database, ONE_BY_ONE)
    return _Seen(streams, seen, at_rest, seen.beside)


def _rows(streams: int, cluster: list[_Seen], alone: list[_Seen]) -> list[Row]:
    def both(what: str, unit: str, of: str, times: float = 1.0) -> Row:
        ours, one = (
            Figure(tuple(_of(seen, of) * times for seen in each), unit) for each in (cluster, alone)
        )
        return row(f"{what}, {streams} streams at {RATE}/s", ours, "one process, SQLite", one)

    return [
        both("CPU per token in the servers", "µs", "paced.cpu_per_chunk"),
        row(
            "CPU per token in PostgreSQL",
            Figure(tuple(each.database_cpu_per_chunk for each in cluster), "µs"),
        ),
        both("lag p50", "ms", "paced.lag_p50", 1e3),
        both("lag p99", "ms", "paced.lag_p99", 1e3),
        both("tokens that came", "%", "whole", 100),
        both("memory for each stream", "kB", "kilobytes"),
    ]


def _of(seen: _Seen, path: str) -> float:
    value: object = seen
    for name in path.split("."):
        value = getattr(value, name)
    assert isinstance(value, float)
    return value


@asynccontextmanager
async def _cluster(
    bench: Bench, upstream: Target, postgres: Postgres, redis: Redis
) -> AsyncIterator[Target]:
    more = {
        "--redis": redis.address,
        "--workers": str(WORKERS),
        "--database": await postgres.create(),
    }
    async with child(*bench.serving(f"{upstream.child.address}/v1", **more)) as process:
        yield Target(f"{WORKERS} workers, PostgreSQL, Redis", process, "/v1/process")


@contextmanager
def _services(bench: Bench) -> Iterator[tuple[Postgres, Redis]]:
    for each in (bench.folder, *bench.folder.parents[:1]):
        each.chmod(each.stat().st_mode | 0o011)  # PostgreSQL runs as somebody else
    home = Path(bench.folder) / f"services-{os.urandom(4).hex()}"
    postgres, redis = Postgres(home / "postgres", AS_SHIPPED), Redis(home / "redis")
    with ExitStack() as started:
        for service in (postgres, redis):
            started.callback(service.stop)
            service.start()
        yield postgres, redis
