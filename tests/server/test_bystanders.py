"""Another caller is answered while one party sends input of any shape.

Each test plays a small case and a large one against a real server, and says how the cost may grow.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx2
import pytest

from tests.support.harness.servers import start_server
from tests.support.providers.upstream import Scenario, Upstream
from tests.support.server.bystander import (
    ASK_SECONDS,
    MeasuredServer,
    open_unread_connections,
    run_measured_server,
    wait_for_answer,
)
from tests.support.services.postgres import Postgres

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process is measured by /proc")

Crowded = Callable[[int, int], Awaitable[tuple[MeasuredServer, str]]]

TOOL = {"name": "f", "parameters": {"type": "object"}}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def server(upstream: Upstream) -> AsyncIterator[MeasuredServer]:
    """Run a server whose model says what a test has told the upstream to say."""
    async with run_measured_server(
        ANTIPHON_BASE_URL=upstream.url,
        ANTIPHON_MODEL="quirk:flood",
        ANTIPHON_PROVIDER_KEY="none",
    ) as server:
        yield server


def reply(deltas: Iterable[object], finish: str = "stop") -> bytes:
    """Return a streamed reply of these deltas."""
    frames = [{"choices": [{"delta": delta}]} for delta in deltas]
    frames.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    return b"".join(b"data: %s\n\n" % json.dumps(frame).encode() for frame in frames)


def call_piece(arguments: str, index: int = 0, **fields: object) -> object:
    """Return a delta with a piece of a tool call's arguments."""
    function = {"arguments": arguments, **fields}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}


async def turn(
    server: MeasuredServer,
    upstream: Upstream,
    body: bytes,
    *,
    repeat: bool = False,
    **fields: object,
) -> str:
    """Return the stream of a turn for which the upstream sends this, repeatedly with `repeat`."""
    upstream.scenarios["flood"] = Scenario(
        body=body if repeat else body + b"data: [DONE]\n\n", repeat=repeat
    )
    request_body = {"message": {"content": "Go on."}, "tools": [TOOL], "model": "quirk:flood"}
    request_body |= fields
    async with open_client(server) as client:
        answer = await client.post("/v1/process", json=request_body)
    assert answer.status_code == 200, answer.text
    return answer.text


async def join_reply(server: MeasuredServer, stream: str) -> str:
    """Return reasoning and text of the reply that this stream cut short."""
    path = f"/v1/messages?thread_id={find_first('thread_id', stream)}"
    async with open_client(server) as client:
        answer = await client.get(path)
    message = answer.json()["data"][-1]
    assert message["status"] == "incomplete"
    text = "".join(part["text"] for part in message["content"])
    return (message.get("reasoning") or "") + text


def find_first(name: str, stream: str) -> str:
    """Return the first value under this name in a stream's events."""
    match = re.search(f'"{name}":"([^"]+)"', stream)
    assert match, stream[:1_000]
    return match[1]


def open_client(server: MeasuredServer) -> httpx2.AsyncClient:
    """Return a client of the server."""
    return httpx2.AsyncClient(base_url=server.url, timeout=ASK_SECONDS, trust_env=False)


@pytest.mark.slow
async def test_fragments_of_a_call_cost_what_they_are(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def fragments(count: int) -> bytes:
        pieces = [call_piece("abcdefgh") for _ in range(count)]
        return reply([call_piece('{"a":"', name="f"), *pieces, call_piece('"}')], "tool_calls")

    await server.cost(turn(server, upstream, fragments(100)))
    small_cost = await server.cost(turn(server, upstream, fragments(2_000)))
    large_cost = await server.cost(turn(server, upstream, fragments(20_000)))

    large_cost.refuse_growth(small_cost, times=10)
    large_cost.refuse_hold()


@pytest.mark.slow
async def test_fragments_that_each_name_their_call_cost_what_they_are(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def fragments(count: int) -> bytes:
        function = {"name": "f", "arguments": "nullnull"}
        return reply([{"tool_calls": [{"index": 0, "function": function}]}] * count, "tool_calls")

    await server.cost(turn(server, upstream, fragments(100)))
    small_cost = await server.cost(turn(server, upstream, fragments(2_000)))
    large_cost = await server.cost(turn(server, upstream, fragments(20_000)))

    large_cost.refuse_growth(small_cost, times=10)
    large_cost.refuse_hold()


@pytest.mark.slow
async def test_a_call_of_nothing_but_brackets_holds_nobody_up(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def brackets(count: int) -> bytes:
        return reply([call_piece('{"a":[' + "[]," * count, name="f")], "tool_calls")

    await server.cost(turn(server, upstream, brackets(100)))
    large_cost = await server.cost(turn(server, upstream, brackets(100_000)))

    large_cost.refuse_hold()


@pytest.mark.slow
async def test_more_calls_than_are_taken_are_refused_and_the_model_is_told(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def calls(count: int) -> bytes:
        return reply([call_piece("{}", index, name="f") for index in range(count)], "tool_calls")

    accepted_stream = await turn(server, upstream, calls(128))
    refused_stream = await turn(server, upstream, calls(129))
    (*_, request) = upstream.requests
    small_cost = await server.cost(turn(server, upstream, calls(200)))
    large_cost = await server.cost(turn(server, upstream, calls(20_000)))

    assert '"status":"action_required"' in accepted_stream
    assert '"reason":"invalid_tool_call"' in refused_stream
    assert '"code":"invalid_tool_call"' in refused_stream
    assert "At most 128 can be made in one reply" in request.body["messages"][-1]["content"]
    large_cost.refuse_growth(small_cost, times=100)
    large_cost.refuse_hold()


@pytest.mark.slow
async def test_one_event_with_very_many_details_holds_nobody_up_and_none_are_kept(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def details(count: int) -> bytes:
        detail = {"type": "reasoning.text", "text": "a"}
        entries = [{**detail, "index": index} for index in range(count)]
        return reply([{"reasoning_details": entries}, {"content": "Hi."}])

    await server.cost(turn(server, upstream, details(100)))
    turn_task = asyncio.ensure_future(turn(server, upstream, details(200_000)))
    cost = await server.cost(turn_task)

    assert '"status":"completed"' in turn_task.result()
    assert '"reasoning_details":null' in turn_task.result()
    cost.refuse_hold()


@pytest.mark.slow
async def test_one_event_with_very_many_calls_holds_nobody_up(
    server: MeasuredServer, upstream: Upstream
) -> None:
    def calls(count: int) -> bytes:
        function = {"name": "f", "arguments": "{}"}
        entries = [{"index": n, "id": f"c{n}", "function": function} for n in range(count)]
        return reply([{"tool_calls": entries}], "tool_calls")

    await server.cost(turn(server, upstream, calls(200)))
    turn_task = asyncio.ensure_future(turn(server, upstream, calls(100_000)))
    cost = await server.cost(turn_task)

    assert '"code":"invalid_tool_call"' in turn_task.result()
    cost.refuse_hold()


@pytest.fixture(params=["sqlite", "postgresql"])
async def hand_out_calls(
    request: pytest.FixtureRequest, upstream: Upstream
) -> AsyncIterator[Crowded]:
    """Return a function that has a run make so many calls, and returns the run's id."""
    settings = {
        "ANTIPHON_BASE_URL": upstream.url,
        "ANTIPHON_PROVIDER_KEY": "none",
        "ANTIPHON_MAX_CALLS": "20000",
        "ANTIPHON_EXPIRY_INTERVAL": "0.1",
    }
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        settings["ANTIPHON_DATABASE"] = await postgres.create()
    async with run_measured_server(**settings) as server:

        async def hand_out(count: int, expires_in: int) -> tuple[MeasuredServer, str]:
            calls = [call_piece("{}", index, name="f") for index in range(count)]
            body = reply(calls, "tool_calls")
            stream = await turn(server, upstream, body, expires_in=expires_in)
            assert '"status":"action_required"' in stream
            return server, find_first("run_id", stream)

        yield hand_out


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["/v1/messages?thread_id={thread}&limit=100", "/v1/owners/local/export"]
)
async def test_heavy_reads_hold_up_nobody_who_reads_a_little(path: str) -> None:
    async with run_measured_server() as server, open_client(server) as client:
        thread = (await client.post("/v1/threads", json={})).json()["id"]
        for number in range(10):
            message = {"thread_id": thread, "content": f"{number} " * 90_000}
            assert (await client.post("/v1/messages", json=message)).status_code == 201
        heavy_path = path.format(thread=thread)
        with ExitStack() as stack:
            light = await server.cost(
                open_unread_connections(stack, server.url, ["/v1/threads?limit=1"] * 500),
                list_threads,
            )
        with ExitStack() as stack:
            await server.cost(
                open_unread_connections(stack, server.url, [heavy_path]), list_threads
            )
            cost = await server.cost(
                open_unread_connections(stack, server.url, [heavy_path] * 500), list_threads
            )

    cost.refuse_hold(0.1, admission=light.cpu)


def list_threads(connection: http.client.HTTPConnection) -> None:
    """Ask for the newest thread: takes the server's loop and its store's readers."""
    connection.request("GET", "/v1/threads?limit=1")
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body


DAY = 86_400
MANY = [2_000, pytest.param(20_000, marks=pytest.mark.soak)]
"""Calls that were handed out by one reply, before there was a limit."""


@pytest.mark.slow
@pytest.mark.parametrize("count", MANY)
async def test_a_run_with_thousands_of_calls_is_cancelled(
    hand_out_calls: Crowded, count: int
) -> None:
    costs = []
    for calls in (100, count // 10, count):
        server, run_id = await hand_out_calls(calls, DAY)
        costs.append(await server.cost(cancel_run(server, run_id)))
    _, small, large = costs

    assert await outputs(server, run_id, "cancelled") == count
    large.refuse_growth(small, times=10)
    large.refuse_hold(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("count", MANY)
async def test_thousands_of_calls_that_nobody_answers_expire(
    hand_out_calls: Crowded, count: int
) -> None:
    server, run_id = await hand_out_calls(count, 1)
    cost = await server.cost(wait_for_answer(server.url, f"/v1/runs/{run_id}", is_at_rest))

    assert await outputs(server, run_id, "expired") == count
    cost.refuse_hold(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
async def test_a_run_with_thousands_of_calls_makes_way(
    hand_out_calls: Crowded, if_busy: str
) -> None:
    server, run_id = await hand_out_calls(2_000, DAY)
    async with open_client(server) as client:
        thread_id = (await client.get(f"/v1/runs/{run_id}")).json()["thread_id"]
        body = {"thread_id": thread_id, "if_busy": if_busy, "model": "demo"}
        headers = {"idempotency-key": "1"}
        first = await client.post("/v1/runs", json=body, headers=headers)
        second = await client.post("/v1/runs", json=body, headers=headers)
        before = (await client.get(f"/v1/runs/{run_id}")).json()

    assert first.status_code == 201
    assert first.json() == second.json()
    assert first.json()["id"] != run_id
    assert before["status"] == "cancelled"


async def cancel_run(server: MeasuredServer, run_id: str) -> None:
    """Cancel the run."""
    async with open_client(server) as client:
        answer = await client.post(f"/v1/runs/{run_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def is_at_rest(run: Mapping[str, object]) -> bool:
    """Return True if the run waits for no more outputs."""
    return run["status"] == "queued"


async def outputs(server: MeasuredServer, run_id: str, status: str) -> int:
    """Return the number of actions of the run in this status."""
    count, after = 0, ""
    async with open_client(server) as client:
        while True:
            path = f"/v1/actions?run_id={run_id}&status={status}&limit=100{after}"
            page = (await client.get(path)).json()
            count += len(page["data"])
            if not page["has_more"]:
                return count
            after = f"&after={page['next']}"


@pytest.mark.slow
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
async def test_a_reply_without_end_is_cut_and_what_it_said_is_kept(
    upstream: Upstream, field: str
) -> None:
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_PROVIDER_KEY": "none"}
    costs = []
    for size in (100_000, 1_000_000):
        async with run_measured_server(**environ, ANTIPHON_MAX_REPLY=str(size)) as server:
            await turn(server, upstream, reply([{"content": "Hi."}]))
            endless = reply([{field: "abcdefgh" * 16}] * 500, "").rpartition(b"data:")[0]
            flood = asyncio.ensure_future(turn(server, upstream, endless, repeat=True))
            costs.append(await server.cost(flood))
            assert '"reason":"length"' in flood.result()
            assert len(await join_reply(server, flood.result())) == size

    small_cost, large_cost = costs
    large_cost.refuse_growth(small_cost, times=10)
    large_cost.refuse_hold()


@pytest.mark.slow
async def test_a_reply_of_nothing_but_comments_holds_nobody_up(upstream: Upstream) -> None:
    settings = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_PROVIDER_KEY": "none"}
    async with run_measured_server(**settings, ANTIPHON_CHUNK_TIMEOUT="1.2") as server:
        cost = await server.cost(turn(server, upstream, b": there\n\n" * 50_000, repeat=True))

    cost.refuse_hold()


RAW = Path(__file__).parents[1] / "support/mcp/servers" / "raw.py"


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["all", "any", "expression", "loop", "enum"])
async def test_a_schema_of_outputs_that_never_ends_holds_nobody_up(
    upstream: Upstream, tmp_path: Path, tool: str
) -> None:
    config = tmp_path / "mcp.json"
    server_config = {
        "command": sys.executable,
        "args": ["-I", "-S", str(RAW), "costly"],
        "backend": True,
    }
    config.write_text(json.dumps({"mcpServers": {"raw": server_config}}))
    mcp = {"mcp_servers": [{"name": "raw", "require_approval": "never"}]}
    settings = {
        "ANTIPHON_BASE_URL": upstream.url,
        "ANTIPHON_PROVIDER_KEY": "none",
        "ANTIPHON_CONFIG": str(config),
        "ANTIPHON_BACKEND_MCP": "configured",
    }
    calls = reply([call_piece("{}", name=f"raw__{tool}")], "tool_calls")
    async with run_measured_server(**settings) as server:
        await server.cost(turn(server, upstream, calls, **mcp))
        turn_task = asyncio.ensure_future(turn(server, upstream, calls, **mcp))
        cost = await server.cost(turn_task)

    assert '"output":"done"' in turn_task.result()
    assert '"status":"completed"' in turn_task.result()
    cost.refuse_hold(0.67)


SPINNING = {
    "FAILPOINTS": "turn.before_request:spin",
    "ANTIPHON_MODEL": "demo",
    "ANTIPHON_WATCHDOG_TIMEOUT": "0.5",
    "ANTIPHON_EXPIRY_INTERVAL": "0.1",
    "ANTIPHON_LEASE_DURATION": "2",
}


async def begin(client: httpx2.AsyncClient) -> str:
    """Begin a run at which its process stops, maybe before it answers; return the run's id.

    As the SDK does, it sends the request again if its process ended before the run was committed.
    """
    thread_id = (await client.post("/v1/threads", json={})).json()["id"]
    body = {"message": {"content": "Hello."}, "background": True, "max_attempts": 1}
    runs: list[dict[str, str]] = []
    while not runs:
        with suppress(httpx2.TransportError):
            await client.post("/v1/process", json=body | {"thread_id": thread_id})
        runs = (await client.get("/v1/runs", params={"thread_id": thread_id})).json()["data"]
    [run] = runs
    return run["id"]


@pytest.mark.slow
async def test_a_process_that_spins_is_replaced_and_others_are_answered() -> None:
    async with run_measured_server("--workers", "2", **SPINNING) as server:
        before = set(server.pids())
        async with open_client(server) as client:
            run_id = await begin(client)
        await wait_for_answer(server.url, f"/v1/runs/{run_id}", is_lost)
        async with asyncio.timeout(ASK_SECONDS):
            while len(server.pids()) < 3 or set(server.pids()) == before:
                await asyncio.sleep(0.05)
        complaint = (
            "worker [12] computed without a pause for longer than watchdog_timeout and was ended"
        )
        assert any(
            re.match(f"{complaint}; it is started again", line) for line in server.process.said
        )


@pytest.mark.slow
async def test_a_process_whose_loop_waits_for_ever_is_replaced_and_says_where() -> None:
    environ = {**SPINNING, "FAILPOINTS": "turn.before_request:pause"}
    async with run_measured_server(
        "--workers", "2", **environ, ANTIPHON_STALL_TIMEOUT="2"
    ) as server:
        before = set(server.pids())
        async with open_client(server) as client:
            run_id = await begin(client)
        await wait_for_answer(server.url, f"/v1/runs/{run_id}", is_lost)
        complaint = "worker [12] had no turn of its event loop for longer than stall_timeout"
        async with asyncio.timeout(ASK_SECONDS):
            while len(server.pids()) < 3 or set(server.pids()) == before:
                await asyncio.sleep(0.05)
            for pattern in (f"{complaint} and was ended; ", ".*failpoints[.]py"):
                while not any(re.match(pattern, line) for line in server.process.said):
                    await asyncio.sleep(0.05)


async def test_a_process_that_is_stopped_from_outside_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.db"
    environ = {"FAILPOINTS": "turn.before_request:pause", "ANTIPHON_MODEL": "demo"}
    environ |= {"ANTIPHON_DATABASE": f"sqlite:///{file}", "ANTIPHON_STALL_TIMEOUT": "2"}
    async with run_measured_server("--workers", "2", **environ) as server:
        _, stopped_pid, other_pid = server.pids()
        with closing(sqlite3.connect(file, timeout=ASK_SECONDS, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # so that it is not stopped while it holds the database
            os.kill(stopped_pid, signal.SIGSTOP)
        try:
            async with open_client(server) as client:
                await begin(client)
            async with asyncio.timeout(ASK_SECONDS):
                while other_pid in server.pids():
                    await asyncio.sleep(0.05)
            assert stopped_pid in server.pids()
        finally:
            os.kill(stopped_pid, signal.SIGCONT)


@pytest.mark.slow
async def test_one_process_that_spins_ends_and_says_where(tmp_path: Path) -> None:
    server = await start_server({"ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/a.db", **SPINNING})
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
        body = {"message": {"content": "Hello."}, "background": True}
        with suppress(httpx2.RemoteProtocolError):
            await client.post("/v1/process", json=body)
    await server.end()

    assert server.exit_code == -signal.SIGPROF
    assert any("telemetry/failpoints.py" in line for line in server.said)


async def test_a_process_that_stands_still_is_left_alone() -> None:
    async with run_measured_server(
        ANTIPHON_WATCHDOG_TIMEOUT="0.5", ANTIPHON_MODEL="demo"
    ) as server:
        server.process.send(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5), open_client(server) as client:
                await client.get("/healthz")
        server.process.send(signal.SIGCONT)
        async with open_client(server) as client:
            answer = await client.get("/healthz")

    assert answer.status_code == 200


def is_lost(run: Mapping[str, object]) -> bool:
    """Return True if the run failed because its workers died."""
    return (run["status"], run["reason"]) == ("incomplete", "worker_lost")
