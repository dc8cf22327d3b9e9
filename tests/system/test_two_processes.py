"""Two servers on one database: whichever one asks, what is said and done is the same.

Guarantees G8, G9, G10, G12, G13 and G26, where a run is driven by one process and read or stopped
through the other.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import final_state, raw_http
from tests.support.harness.checks import judge
from tests.support.harness.raw_http import ServerEvent
from tests.support.harness.record import Record
from tests.support.harness.servers import Server
from tests.support.providers.upstream import Upstream
from tests.support.system.held_replies import hold_at_the_end

SHORT = {
    "ANTIPHON_LEASE_DURATION": "4",
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
    "ANTIPHON_EXPIRY_INTERVAL": "0.3",
}
STORY = {"message": {"content": "Tell me a long story of 150 words."}, "max_attempts": 10}
DEADLINE = 60.0


@dataclass
class ServerPair:
    """Two servers, and the database behind them."""

    servers: tuple[Server, Server]
    database: Path

    async def begin(self, body: Any) -> str:
        """Begin a run in the background on the first server; return its id."""
        answer = await raw_http.send_request(
            self.servers[0].url, "POST", "/v1/process", {**body, "background": True}
        )
        assert answer.status == 202, answer.body
        return str(answer.json["id"])

    async def driver(self, run_id: str) -> tuple[Server, Server]:
        """Return the server that drives the run, and the other one."""
        async with asyncio.timeout(DEADLINE):
            while (worker := self._row("SELECT worker FROM runs WHERE id = ?", run_id)) is None:
                await asyncio.sleep(0.01)
        first, second = self.servers
        return (first, second) if worker.startswith(f"{first.pid}-") else (second, first)

    def judge(self) -> final_state.FinalState:
        """Return the stored state, in which nothing is broken."""
        state = final_state.load(self.database)
        verdict = judge(Record(), state)
        assert not any(verdict.numbers.values()), str(verdict)
        return state

    def writers(self, run_id: str) -> list[int]:
        """Return the writers of the rows of a run's log, in order."""
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute(
                "SELECT writer, last FROM log JOIN runs ON runs.seq = run WHERE id = ?1 UNION ALL "
                "SELECT writer, last FROM fresh JOIN runs ON runs.seq = run WHERE id = ?1 "
                "ORDER BY last",
                (run_id,),
            )
            return [writer for writer, _ in rows]

    def _row(self, statement: str, *values: str) -> Any:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement, values).fetchone()[0]


async def start_pair(serve: Any, folder: Path, **settings: str) -> ServerPair:
    servers = await serve(**settings), await serve(**settings)
    return ServerPair(servers, folder / "antiphon.db")


@asynccontextmanager
async def follow_from_first_word(
    url: str, run_id: str
) -> AsyncIterator[tuple[list[ServerEvent], AsyncIterator[ServerEvent]]]:
    """Yield the run's events up to its first word, and an iterator of the later ones."""
    async with (
        asyncio.timeout(DEADLINE),
        raw_http.open_request(url, "GET", f"/v1/runs/{run_id}/events") as stream,
        aclosing(stream.events()) as events,
    ):
        first_events = [await anext(events)]
        while first_events[-1].type != "text.delta":
            first_events.append(await anext(events))
        yield first_events, events


async def test_a_run_is_live_on_every_server(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    pair = await start_pair(serve, tmp_path, **hold_at_the_end(upstream))
    run_id = await pair.begin({"message": {"content": "go"}})
    driver, other = await pair.driver(run_id)

    async with (
        follow_from_first_word(driver.url, run_id) as (driver_events, driver_rest),
        follow_from_first_word(other.url, run_id) as (other_events, other_rest),
    ):
        upstream.gate.set()
        driver_events += [each async for each in driver_rest]
        other_events += [each async for each in other_rest]

    assert driver_events == other_events
    assert driver_events[-1].type == "turn.ended"


async def test_a_run_is_stopped_through_the_other_server(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    pair = await start_pair(
        serve, tmp_path, ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:endless"
    )
    run_id = await pair.begin({"message": {"content": "go"}})
    request = await upstream.wait_for_request(1)
    _, other = await pair.driver(run_id)

    answer = await raw_http.send_request(other.url, "POST", f"/v1/runs/{run_id}/cancel", {})
    async with asyncio.timeout(20):
        await request.done.wait()

    assert answer.status == 202
    assert request.closed
    run_events = await raw_http.follow_run(other.url, run_id)
    assert [each.type for each in run_events[-2:]] == ["run.status", "turn.ended"]
    assert run_events[-1].json["status"] == "cancelled"
    assert pair.judge().runs[run_id]["status"] == "cancelled"


async def test_a_server_that_is_told_to_end_gives_its_run_to_the_other(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    environ = hold_at_the_end(upstream)
    pair = await start_pair(serve, tmp_path, ANTIPHON_SHUTDOWN_TIMEOUT="0.3", **environ)
    run_id = await pair.begin(STORY)
    driver, other = await pair.driver(run_id)

    async with follow_from_first_word(other.url, run_id) as (received, later_events):
        driver.send(signal.SIGTERM)
        await upstream.wait_for_request(2)
        upstream.gate.set()
        received += [each async for each in later_events]
    await driver.end()

    restarts = [each.json for each in received if each.type == "turn.restarted"]
    assert [restart["reason"] for restart in restarts] == ["worker_lost"]
    assert received[-1].json["status"] == "completed"
    pair.judge()


async def test_a_server_that_is_told_to_end_finishes_what_it_can(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    environ = hold_at_the_end(upstream)
    pair = await start_pair(serve, tmp_path, ANTIPHON_SHUTDOWN_TIMEOUT="60", **environ)
    run_id = await pair.begin(STORY)
    driver, other = await pair.driver(run_id)

    async with follow_from_first_word(driver.url, run_id) as (received, later_events):
        driver.send(signal.SIGTERM)
        await _wait_until_refused(driver.url)
        upstream.gate.set()
        received += [each async for each in later_events]
    await driver.end()

    assert not any(each.type == "turn.restarted" for each in received)
    assert received[-1].json["status"] == "completed"
    assert received == await raw_http.follow_run(other.url, run_id)


async def _wait_until_refused(url: str) -> None:
    """Wait until a server that is about to end takes no more requests."""
    async with asyncio.timeout(DEADLINE):
        with suppress(raw_http.ConnectionCut):
            while (await raw_http.send_request(url, "GET", "/readyz")).status == 200:
                await asyncio.sleep(0.01)


async def test_a_server_that_was_frozen_writes_nothing_more(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    await _check_stopped_server(
        await start_pair(serve, tmp_path, **SHORT, **hold_at_the_end(upstream)), upstream
    )


@pytest.mark.soak
async def test_no_frozen_server_ever_writes_again(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    short_lease = {**SHORT, "ANTIPHON_LEASE_DURATION": "1"}
    pair = await start_pair(serve, tmp_path, **short_lease, **hold_at_the_end(upstream))
    for _ in range(50):
        await _check_stopped_server(pair, upstream)


async def _check_stopped_server(pair: ServerPair, upstream: Upstream) -> None:
    upstream.gate.clear()
    run_id = await pair.begin(STORY)
    driver, other = await pair.driver(run_id)
    async with follow_from_first_word(other.url, run_id) as (received, later_events):
        requests_before = len(upstream.requests)
        driver.send(signal.SIGSTOP)
        try:
            await upstream.wait_for_request(requests_before + 1)
            upstream.gate.set()
            received += [each async for each in later_events]
        finally:
            driver.send(signal.SIGCONT)
    # A server that answers again has had a turn of its loop: its late writes were refused.
    for _ in range(3):
        assert (await raw_http.send_request(driver.url, "GET", "/readyz")).status == 200

    assert received[-1].json["status"] == "completed"
    assert [each.type for each in received].count("turn.restarted") == 1
    writers = pair.writers(run_id)
    takeover = max(at for at, writer in enumerate(writers) if writer != writers[-1]) + 1
    assert len(set(writers[takeover:])) == 1
    assert received == await raw_http.follow_run(driver.url, run_id)
    pair.judge()


@pytest.mark.soak
async def test_a_run_goes_on_within_25_seconds_by_the_settings_as_they_are(
    serve: Any, tmp_path: Path
) -> None:
    pair = await start_pair(serve, tmp_path, ANTIPHON_DEMO_DELAY="0.025")
    run_id = await pair.begin(STORY)
    driver, other = await pair.driver(run_id)
    await _wait_for_first_words(other.url, run_id)

    await driver.kill()
    start = time.monotonic()
    async with raw_http.open_request(other.url, "GET", f"/v1/runs/{run_id}/events") as stream:
        async for event in stream.events():
            if event.type == "turn.restarted":
                break

    assert time.monotonic() - start < 25
    assert (await raw_http.follow_run(other.url, run_id))[-1].json["status"] == "completed"


async def test_both_servers_may_take_the_same_output_and_keep_it_once(
    serve: Any, tmp_path: Path, upstream: Upstream
) -> None:
    pair = await start_pair(
        serve, tmp_path, ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:t_normal"
    )
    first, second = pair.servers
    tools = [{"name": "f", "parameters": {"type": "object"}}]
    turn_events = await raw_http.read_turn(
        first.url, "/v1/process", {"message": {"content": "go"}, "tools": tools}
    )
    run_id = turn_events[0].json["run_id"]
    (manifest,) = [each.json for each in turn_events if each.type == "action.required"]
    call_id = manifest["actions"][0]["tool_call_id"]

    answers = await asyncio.gather(
        *(
            raw_http.send_request(
                (first, second)[number % 2].url,
                "POST",
                "/v1/submit_tool_output",
                {"run_id": run_id, "tool_call_id": call_id, "output": f"from {number // 2}"},
            )
            for number in range(16)
        )
    )

    saved_outputs = [answer.json["output"] for answer in answers if answer.status == 200]
    codes = {answer.json["code"] for answer in answers if answer.status != 200}
    assert len(saved_outputs) == 2
    assert len(set(saved_outputs)) == 1
    assert codes == {"output_conflict"}
    turn_events = await raw_http.read_turn(second.url, "/v1/process", {"run_id": run_id})
    assert turn_events[-1].json["status"] == "completed"
    assert len(upstream.requests) == 2
    pair.judge()


async def _wait_for_first_words(url: str, run_id: str) -> None:
    async with raw_http.open_request(url, "GET", f"/v1/runs/{run_id}/events") as stream:
        async for event in stream.events():
            if event.type == "text.delta":
                return
