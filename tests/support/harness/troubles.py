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
"""Bytes that are sent to the database only to be stored: in an append, a transition, a message."""
FARTHEST_CUT = 2_000
"""The farthest cut in bytes behind them: in the rest of the request, its answer or what follows."""


async def server_killed(cluster: Cluster) -> None:
    """kill -9 of a server; another replaces it."""
    cluster.fleet.kill(signal.SIGKILL)


async def server_frozen(cluster: Cluster) -> None:
    """A server is suspended until others have taken its runs; then it resumes."""
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
    """Redis loses all its data."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.redis.port)
    writer.write(b"FLUSHALL\r\n")
    assert await reader.readline() == b"+OK\r\n"
    writer.close()


async def backends_killed(cluster: Cluster) -> None:
    """kill -9 of each process of PostgreSQL that serves a connection; it then restarts itself."""
    await asyncio.to_thread(cluster.postgres.kill_backends)


async def postgres_killed(cluster: Cluster) -> None:
    """kill -9 of PostgreSQL, which is restarted soon."""
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(cluster.postgres.start)


async def network_stalled(cluster: Cluster) -> None:
    """Nothing passes between a server and the database for a while, then all that was held back."""
    link = cluster.link()
    link.stall(cluster.random.choice([BOTH, ("up",), ("down",)]))
    await asyncio.sleep(cluster.random.uniform(0.2, 2) * LEASE_SECONDS)
    link.heal()


async def network_reset(cluster: Cluster) -> None:
    """All connections of a server to the database are reset, and for a moment all new ones."""
    link = cluster.link()
    link.refuse()
    await asyncio.sleep(cluster.random.uniform(0, DOWN_SECONDS))
    link.heal()


async def network_slow(cluster: Cluster) -> None:
    """The database answers a server slowly for a while."""
    link = cluster.link()
    link.slow(cluster.random.uniform(0.01, 0.05))
    await asyncio.sleep(DOWN_SECONDS)
    link.heal()


async def commits_cut(cluster: Cluster) -> None:
    """Each server loses a connection in the middle of a commit, or just after it."""
    before = sum(link.cuts for link in cluster.links)
    for link in cluster.links:
        after, seen = cluster.random.randint(0, FARTHEST_CUT), cluster.random.choice(KEPT)
        link.cut(Cut(after, seen))
    with suppress(TimeoutError):  # a suspended server commits nothing
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
    """Return a trouble that is both at the same time; they must not concern the same part."""

    async def both(cluster: Cluster) -> None:
        await asyncio.gather(one(cluster), other(cluster))

    both.__name__ = f"{one.__name__} and {other.__name__}"
    return both


def skewed_clock_environ(by: str) -> dict[str, str] | None:
    """Return variables that skew a process's clock, such as by `+10m`; None if impossible."""
    libraries = sorted(Path("/").glob(FAKETIME.removeprefix("/")))
    if not libraries:
        return None
    return {
        "LD_PRELOAD": str(libraries[-1]),
        "FAKETIME": by,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # its deadlines keep their length
    }
