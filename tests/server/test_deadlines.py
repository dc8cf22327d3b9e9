"""Deadlines where several servers share one database, and none is notified of another's changes.

Guarantees G9 and G30: the store's clock decides, a worker's own does not, and nothing expires
twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.buses.local import LocalBus
from antiphon.engine.snapshot import Committed, Decide, ReadSet
from antiphon.ports import BeforeCommit
from antiphon.providers.catalog import Catalog
from antiphon.runtime.runtime import Runtime
from antiphon.settings.settings import Settings
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import events
from antiphon.types.errors import Unavailable
from tests.support.providers.upstream import Upstream
from tests.support.server.isolated_servers import run_isolated_servers
from tests.support.server.served import SETTINGS, Served, eventually, serve
from tests.support.services.postgres import Postgres

TEN_MINUTES = 600_000
LEASE = 3600
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
ASK = {"message": {"content": "go"}, "model": "quirk:t_no_index_parallel", "tools": TOOLS}


class Clock:
    """Clock of the database, which stands still until the test moves it, unlike the machine's."""

    def __init__(self, ahead: int) -> None:
        self.now = time.time_ns() // 1_000_000 + ahead

    def __call__(self) -> int:
        return self.now


@dataclass
class Cluster:
    """Three servers on one database, whose clock the test moves."""

    servers: Sequence[Served]
    clients: Sequence[httpx2.AsyncClient]
    clock: Clock
    upstream: Upstream

    async def begin_resting_run(self, **fields: Any) -> dict[str, Any]:
        """Begin a run, and wait until it waits for the outputs of two calls."""
        answer = await self.clients[0].post("/v1/process", json=ASK | {"background": True} | fields)
        assert answer.status_code == 202, answer.text
        return await self.until(answer.json()["id"], "action_required")

    async def until(self, run_id: str, status: str) -> dict[str, Any]:
        run: dict[str, Any] = {}

        async def has_status() -> bool:
            nonlocal run
            run = (await self.clients[1].get(f"/v1/runs/{run_id}")).json()
            return run["status"] == status

        await eventually(has_status)
        return run

    async def sweep(self) -> None:
        """Have all workers look for what is overdue, at once and more than once."""
        workers = [server.runtime.worker for server in self.servers] * 3
        await asyncio.gather(*(worker.sweeper.sweep() for worker in workers))

    async def actions(self, run_id: str) -> list[dict[str, Any]]:
        answer = await self.clients[2].get("/v1/actions", params={"run_id": run_id})
        return answer.json()["data"]

    async def read_log(self, run_id: str) -> list[events.Event]:
        """Read the run's log from the store: the stream of a run that goes on would not end."""
        page = await self.servers[2].runtime.store.read_events(run_id, 0)
        return [events.decode(line) for line in page.lines]


@pytest.fixture(params=["postgresql ahead", pytest.param("sqlite behind", marks=pytest.mark.soak)])
async def cluster(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """Run three servers on a database whose clock is ten minutes off their machines' clocks."""
    kind, where = request.param.split()
    database = f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else await postgres.create()
    clock = Clock(-TEN_MINUTES if where == "behind" else TEN_MINUTES)
    async with Upstream() as upstream:
        # Nothing sweeps or sends heartbeats by itself while a test lasts.
        settings = replace(
            SETTINGS,
            base_url=upstream.url,
            model="quirk:ok",
            expiry_interval=3600,
            lease_duration=LEASE,
            heartbeat_interval=LEASE,
        )
        async with run_isolated_servers(
            3, database, settings, clock=clock, lose_all=True
        ) as servers:
            clients = [await server.client() for server in servers]
            yield Cluster(servers, clients, clock, upstream)


async def test_calls_expire_at_their_time_by_the_stores_clock_and_no_earlier(
    cluster: Cluster,
) -> None:
    run = await cluster.begin_resting_run(expires_in=60, on_expiry="expire")
    deadlines = [each["expires_at"] for each in await cluster.actions(run["id"])]
    assert deadlines == [cluster.clock.now + 60_000] * 2

    cluster.clock.now += 59_999
    await cluster.sweep()
    assert {each["status"] for each in await cluster.actions(run["id"])} == {"pending"}
    cluster.clock.now += 1
    await cluster.sweep()

    assert {each["status"] for each in await cluster.actions(run["id"])} == {"expired"}
    assert (await cluster.until(run["id"], "expired"))["ended_at"] == cluster.clock.now
    log = await cluster.read_log(run["id"])
    assert sum(isinstance(each, events.ToolOutputAdded) for each in log) == 2
    final_statuses = [
        each for each in log if isinstance(each, events.RunStatus) and each.status.ended
    ]
    assert len(final_statuses) == 1
    assert len(cluster.upstream.requests) == 1


async def test_an_expired_run_goes_on_once(cluster: Cluster) -> None:
    run = await cluster.begin_resting_run(expires_in=60, on_expiry="continue")

    cluster.clock.now += 60_000
    await cluster.sweep()
    await cluster.until(run["id"], "completed")
    await cluster.sweep()

    actions = await cluster.actions(run["id"])
    assert {each["status"] for each in actions} == {"expired"}
    assert len(cluster.upstream.requests) == 2
    sent_messages = cluster.upstream.requests[1].body["messages"]
    outputs = [each for each in sent_messages if each["role"] == "tool"]
    assert [each["tool_call_id"] for each in outputs] == [each["tool_call_id"] for each in actions]
    assert len({each["content"] for each in outputs}) == 1
    assert not cluster.upstream.rejected


async def test_an_output_and_the_deadline_meet_and_one_of_them_holds(cluster: Cluster) -> None:
    run = await cluster.begin_resting_run(expires_in=60)
    calls = [each["tool_call_id"] for each in await cluster.actions(run["id"])]

    async def submit(client: httpx2.AsyncClient, call_id: str) -> tuple[str, bool]:
        body = {"run_id": run["id"], "tool_call_id": call_id, "output": "42"}
        answer = await client.post("/v1/submit_tool_output", json=body)
        return call_id, answer.status_code == 200

    cluster.clock.now += 60_000
    submissions = [submit(client, call_id) for client in cluster.clients for call_id in calls]
    results, _ = await asyncio.gather(asyncio.gather(*submissions), cluster.sweep())
    await cluster.until(run["id"], "completed")

    statuses = {(each["tool_call_id"], each["status"]) for each in await cluster.actions(run["id"])}
    assert statuses == {(call_id, "completed" if good else "expired") for call_id, good in results}
    log = await cluster.read_log(run["id"])
    assert sum(isinstance(each, events.ToolOutputAdded) for each in log) == 2
    assert len(cluster.upstream.requests) == 2
    assert not cluster.upstream.rejected


async def test_a_run_that_nobody_asks_for_ends_at_its_time(cluster: Cluster) -> None:
    client = cluster.clients[0]
    thread = (await client.post("/v1/threads")).json()["id"]
    run = (await client.post("/v1/runs", json={"thread_id": thread, "expires_in": 60})).json()

    cluster.clock.now += 59_999
    await cluster.sweep()
    assert (await client.get(f"/v1/runs/{run['id']}")).json()["status"] == "queued"
    cluster.clock.now += 1
    await cluster.sweep()

    assert (await client.get(f"/v1/runs/{run['id']}")).json()["status"] == "expired"
    assert (await client.post("/v1/runs", json={"thread_id": thread})).status_code == 201


async def test_a_lease_ends_by_the_stores_clock_and_one_worker_takes_the_run(
    cluster: Cluster,
) -> None:
    answer = await cluster.clients[0].post(
        "/v1/process",
        json={"message": {"content": "go"}, "model": "quirk:endless", "background": True},
    )
    run_id = answer.json()["id"]
    await cluster.upstream.wait_for_request(1)

    async def has_begun_to_speak() -> bool:
        return any(isinstance(each, events.TextDelta) for each in await cluster.read_log(run_id))

    await eventually(has_begun_to_speak)
    driver = next(each for each in cluster.servers if each.runtime.worker.active_runs)
    other_servers = [each for each in cluster.servers if each is not driver]
    cluster.clock.now += LEASE * 1000 - 1
    await asyncio.gather(*(each.runtime.worker.sweeper.sweep() for each in other_servers * 3))
    assert len(cluster.upstream.requests) == 1
    cluster.clock.now += 1
    await asyncio.gather(*(each.runtime.worker.sweeper.sweep() for each in other_servers * 3))
    await cluster.upstream.wait_for_request(2)

    log = await cluster.read_log(run_id)
    restarts = [each for each in log if isinstance(each, events.TurnRestarted)]
    assert [each.attempt for each in restarts] == [2]
    run = (await cluster.clients[1].get(f"/v1/runs/{run_id}")).json()
    assert (run["status"], run["attempt"]) == ("in_progress", 2)
    await cluster.clients[0].post(f"/v1/runs/{run_id}/cancel")


class StubbornStore(MemoryStore):
    """Store that writes nothing about the run `stuck_run_id`, and counts the attempts."""

    stuck_run_id = ""
    attempts = 0

    async def change(
        self, about: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if about.run_id == self.stuck_run_id:
            self.attempts += 1
            raise Unavailable("it takes too long")
        return await super().change(about, decide, before_commit)


async def test_an_overdue_run_that_cannot_be_written_stops_no_other_and_is_set_aside() -> None:
    clock = Clock(0)
    store = StubbornStore(clock=clock)

    @asynccontextmanager
    async def open_alone(settings: Settings) -> AsyncGenerator[Runtime]:
        catalog = Catalog(settings, {})
        yield Runtime(settings, store, LocalBus(), catalog)
        await catalog.close()

    async with serve(SETTINGS, open_alone) as server:
        client = await server.client()
        runs = []
        for _ in range(2):
            thread = (await client.post("/v1/threads")).json()["id"]
            body = {"thread_id": thread, "expires_in": 60}
            runs.append((await client.post("/v1/runs", json=body)).json()["id"])
        store.stuck_run_id = runs[0]
        clock.now += TEN_MINUTES
        for _ in range(10):
            await server.runtime.worker.sweeper.sweep()
        states = [(await client.get(f"/v1/runs/{run}")).json()["status"] for run in runs]

    assert states == ["queued", "expired"]
    assert store.attempts == 1
