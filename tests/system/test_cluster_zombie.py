"""A server stands still past its leases and goes on: PostgreSQL takes nothing from it any more.

Guarantees G8, G10 and G13. It wakes while another drives its run, or when the run has ended.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.harness.checks import judge
from tests.support.harness.postgres_database import PostgresDatabase
from tests.support.harness.raw_http import ServerEvent
from tests.support.harness.record import Record
from tests.support.harness.servers import Server
from tests.support.providers.upstream import Upstream
from tests.support.services.postgres import Postgres
from tests.support.system.held_replies import hold_at_the_end

SHORT = {
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
    "ANTIPHON_EXPIRY_INTERVAL": "0.3",
}
STORY = {"message": {"content": "Tell me a long story of 150 words."}, "max_attempts": 10}
DEADLINE = 60.0
ROUNDS = [1, pytest.param(100, marks=pytest.mark.soak)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(
    "waking_event", ["turn.restarted", pytest.param("turn.ended", marks=pytest.mark.soak)]
)
async def test_a_server_that_stood_still_writes_nothing_more(
    serve: Any, postgres: Postgres, upstream: Upstream, waking_event: str, rounds: int
) -> None:
    database = PostgresDatabase(await postgres.create())
    environ = {
        "ANTIPHON_DATABASE": database.address,
        "ANTIPHON_LEASE_DURATION": "4" if rounds == 1 else "1",
        **SHORT,
        **hold_at_the_end(upstream),
    }
    servers = await serve(**environ), await serve(**environ)
    await database.record_transitions()

    for _ in range(rounds):
        upstream.gate.clear()
        answer = await raw_http.send_request(
            servers[0].url, "POST", "/v1/process", {**STORY, "background": True}
        )
        await _check_stopped_server(database, servers, upstream, answer.json["id"], waking_event)

    verdict = judge(Record(), await database.load())
    assert not any(verdict.numbers.values()), str(verdict)


async def _check_stopped_server(
    database: PostgresDatabase,
    servers: tuple[Server, Server],
    upstream: Upstream,
    run_id: str,
    waking_event: str,
) -> None:
    driver, other = await _find_driver(database, servers, run_id)
    await _first_event(other.url, run_id, "text.delta")
    driver.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE):
            await _first_event(other.url, run_id, "turn.restarted")
            if waking_event == "turn.ended":
                upstream.gate.set()
                await _first_event(other.url, run_id, waking_event)
            before = await _read_log(database, run_id)
    finally:
        driver.send(signal.SIGCONT)
    upstream.gate.set()
    async with asyncio.timeout(DEADLINE):
        run_events = await raw_http.follow_run(other.url, run_id)
    # A server that answers again has had a turn of its loop: its late writes were refused.
    for _ in range(3):
        assert (await raw_http.send_request(driver.url, "GET", "/readyz")).status == 200
    after = await _read_log(database, run_id)

    assert after[: len(before)] == before
    assert waking_event == "turn.restarted" or after == before
    assert run_events[-1].json["status"] == "completed"
    assert [each.type for each in run_events].count("turn.restarted") == 1
    assert run_events == await raw_http.follow_run(driver.url, run_id)


async def _find_driver(
    database: PostgresDatabase, servers: tuple[Server, Server], run_id: str
) -> tuple[Server, Server]:
    """Return the server that drives the run, and the other one."""
    async with asyncio.timeout(DEADLINE):
        while not (
            worker := await database.fetch_value("SELECT worker FROM drives WHERE id = $1", run_id)
        ):
            await asyncio.sleep(0.01)
    first, second = servers
    return (first, second) if worker.startswith(f"{first.pid}-") else (second, first)


async def _read_log(database: PostgresDatabase, run_id: str) -> list[bytes]:
    """Return the run's events as they are in the database."""
    return [line for _, _, lines in await database.log(run_id) for line in lines.split(b"\n")]


async def _first_event(url: str, run_id: str, kind: str) -> ServerEvent:
    """Return the first event of a kind, as soon as it comes."""
    async with raw_http.open_request(url, "GET", f"/v1/runs/{run_id}/events") as stream:
        async for event in stream.events():
            if event.type == kind:
                return event
    raise AssertionError(f"{kind} never came")
