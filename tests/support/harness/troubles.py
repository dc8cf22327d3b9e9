"""Troubles of a cluster; each is over when its function returns."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

from tests.support.harness.cluster import LEASE_SECONDS, Cluster, Trouble
from tests.support.services.fault_proxy import BOTH, Cut

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
FROZEN_LEASES = 1.7
DOWN_SECONDS = 0.5
KEPT = (b'"type":"text.delta"', b'"type":"run.status"', b'"role":"user"')
"""What is told to the database only where it shall keep it: by an append, a move, a message."""
FARTHEST_CUT = 2_000
"""Bytes behind that: the rest of what it is told, its answer, and something of what comes next."""


async def server_killed(cluster: Cluster) -> None:
    """kill -9 of a server; another takes its place."""
    cluster.fleet.kill(signal.SIGKILL)


async def server_frozen(cluster: Cluster) -> None:
    """A server stands still until others have taken its runs; then it goes on as if nothing was."""
    server = cluster.fleet.server(cluster.random.randrange(len(cluster.links)))
    if server is None:
        return
    server.send(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_LEASES * LEASE_SECONDS)
    server.send(signal.SIGCONT)


async def redis_killed(cluster: Cluster) -> None:
    """kill -9 of Redis, which comes back empty."""
    await asyncio.to_thread(cluster.redis.kill)
    await asyncio.sleep(cluster.random.uniform(0, DOWN_SECONDS))
    await asyncio.to_thread(cluster.redis.start)


async def redis_flushed(cluster: Cluster) -> None:
    """All that Redis knows is gone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.redis.port)
    writer.write(b"FLUSHALL\r\n")
    assert await reader.readline() == b"+OK\r\n"
    writer.close()


async def backends_killed(cluster: Cluster) -> None:
    """kill -9 of each process of PostgreSQL that serves a connection; it then restarts itself."""
    await asyncio.to_thread(cluster.postgres.kill_backends)


async def postgres_killed(cluster: Cluster) -> None:
    """kill -9 of PostgreSQL, which is started again soon."""
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(cluster.postgres.start)


async def network_stalled(cluster: Cluster) -> None:
    """Nothing passes between a server and the database, then all that was held back."""
    link = cluster.link()
    link.stall(cluster.random.choice([BOTH, ("up",), ("down",)]))
    await asyncio.sleep(cluster.random.uniform(0.2, 2) * LEASE_SECONDS)
    link.heal()


async def network_reset(cluster: Cluster) -> None:
    """Each connection of a server to the database is reset, and for a moment each new one."""
    link = cluster.link()
    link.refuse()
    await asyncio.sleep(cluster.random.uniform(0, DOWN_SECONDS))
    link.heal()


async def network_slow(cluster: Cluster) -> None:
    """A server's database is far away for a while."""
    link = cluster.link()
    link.slow(cluster.random.uniform(0.01, 0.05))
    await asyncio.sleep(DOWN_SECONDS)
    link.heal()


async def commits_cut(cluster: Cluster) -> None:
    """Each server loses a connection in the middle of a commit, or just behind it."""
    before = sum(link.cuts for link in cluster.links)
    for link in cluster.links:
        after, seen = cluster.random.randint(0, FARTHEST_CUT), cluster.random.choice(KEPT)
        link.cut(Cut(after, seen))
    with suppress(TimeoutError):  # one that stands still commits nothing
        async with asyncio.timeout(DOWN_SECONDS):
            while sum(link.cuts for link in cluster.links) < before + len(cluster.links):
                await asyncio.sleep(0.01)
    for link in cluster.links:
        link.heal()


OF_THE_DATABASE: tuple[Trouble, ...] = (
    backends_killed,
    postgres_killed,
    network_stalled,
    network_reset,
    commits_cut,
)
OF_OTHERS: tuple[Trouble, ...] = (
    server_killed,
    server_frozen,
    redis_killed,
    redis_flushed,
    network_slow,
)


def at_once(one: Trouble, other: Trouble) -> Trouble:
    """Both troubles, which are not of the same thing, at the same time."""

    async def both(cluster: Cluster) -> None:
        await asyncio.gather(one(cluster), other(cluster))

    both.__name__ = f"{one.__name__} and {other.__name__}"
    return both


def skewed_clock_environ(by: str) -> dict[str, str] | None:
    """Return variables that skew a process's clock, such as by `+10m`; None if impossible."""
    found = sorted(Path("/").glob(FAKETIME.removeprefix("/")))
    if not found:
        return None
    return {
        "LD_PRELOAD": str(found[-1]),
        "FAKETIME": by,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # its deadlines are as long as anybody's
    }
