"""The same work on PostgreSQL as on SQLite: first token, turns and paced streams.

One server on each. PostgreSQL has its default settings, on the same machine, and its processor time
is added to that of the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.children import Child, child
from benchmarks.load import Target, first_token, watch_paced_streams
from benchmarks.report import Figure, Row, row
from benchmarks.turns import CLIENTS, watch_turns
from tests.support.services.postgres import Postgres, programs

AS_SHIPPED: dict[str, str] = {}  # defaults: a commit is on disk before it is acknowledged
CROWD, FEW = 200, 20
NAMES = ("first token", "CPU of a turn", "turns a second", "few", "crowd", "lag")


@dataclass(frozen=True)
class _Server:
    """A server, and the process of its database if that is another one."""

    target: Target
    database: Child | None

    def cpu(self) -> float:
        """Return the processor time of both, in seconds."""
        database_cpu = self.database.cpu() if self.database is not None else 0.0
        return self.target.child.cpu() + database_cpu


async def measure(bench: Bench) -> list[Row]:
    """Measure first token, turns and chunks on both, in interleaved rounds."""
    if programs() is None:
        return [row("PostgreSQL is not here", Figure((0,), ""))]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(bench.upstream())
        sqlite = _Server(await stack.enter_async_context(bench.antiphon(upstream)), None)
        servers = (await stack.enter_async_context(_run_on_postgres(bench, upstream)), sqlite)
        for server in servers:
            await first_token(server.target)
        rounds: list[list[list[float]]] = [[], []]
        for turn in range(bench.pick(1, 1, 3)):
            for place in range(2):
                index = (place + turn) % 2
                rounds[index].append(await _measure_round(bench, servers[index]))
    return _rows(*(dict(zip(NAMES, zip(*each, strict=True), strict=True)) for each in rounds))


async def _measure_round(bench: Bench, server: _Server) -> list[float]:
    """Measure one server; return its figures in the order of `NAMES`."""
    seconds = bench.pick(0.2, 1.2, 3.0)
    target = server.target
    first = median([await first_token(target) for _ in range(bench.pick(2, 20, 40))])
    cpu = server.cpu() - target.child.cpu()
    turns = await watch_turns(target, CLIENTS, seconds)
    # The database also works for the first and the last turn of each client, which are not counted.
    turn_count = turns.per_second * seconds + 2 * CLIENTS
    database_cpu = (server.cpu() - target.child.cpu() - cpu) / turn_count
    few = await watch_paced_streams(
        target, bench.pick(2, FEW, FEW), seconds, database=server.database
    )
    crowd = await watch_paced_streams(
        target, bench.pick(4, CROWD, CROWD), seconds, database=server.database
    )
    return [
        first * 1e3,
        (turns.cpu + database_cpu) * 1e3,
        turns.per_second,
        *((each.cpu + each.database_cpu) / each.chunks * 1e6 for each in (few, crowd)),
        crowd.lag_p99 * 1e3,
    ]


def _rows(postgres: dict[str, Sequence[float]], sqlite: dict[str, Sequence[float]]) -> list[Row]:
    def compare(what: str, unit: str, name: str) -> Row:
        measured, baseline = (Figure(tuple(each[name]), unit) for each in (postgres, sqlite))
        return row(f"PostgreSQL: {what}", measured, "SQLite", baseline)

    return [
        compare("first token", "ms", "first token"),
        compare("CPU of a turn, with the database's", "ms", "CPU of a turn"),
        compare(f"turns a second, {CLIENTS} clients", "turns/s", "turns a second"),
        compare(f"CPU per chunk, with the database's, {FEW} streams", "µs", "few"),
        compare(f"CPU per chunk, with the database's, {CROWD} streams", "µs", "crowd"),
        compare(f"lag p99, {CROWD} streams", "ms", "lag"),
    ]


@asynccontextmanager
async def _run_on_postgres(bench: Bench, upstream: Target) -> AsyncIterator[_Server]:
    for folder in (bench.folder, *bench.folder.parents[:1]):
        folder.chmod(folder.stat().st_mode | 0o011)  # PostgreSQL runs as another user
    postgres = Postgres(Path(bench.folder) / f"postgres-{os.urandom(4).hex()}", AS_SHIPPED)
    try:
        postgres.start()
        options = {"--database": await postgres.create()}
        command = bench.serve_command(f"{upstream.child.address}/v1", **options)
        async with child(*command) as process:
            target = Target("PostgreSQL", process, "/v1/process")
            yield _Server(target, Child(postgres.service.pid, "", 0))
    finally:
        postgres.stop()
