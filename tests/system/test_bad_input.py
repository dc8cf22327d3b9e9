"""Bad requests of clients and bad replies of providers: each gets its documented error, nothing is
lost, and the same process answers afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import final_state, raw_http
from tests.support.harness.checks import judge
from tests.support.harness.raw_http import Response
from tests.support.harness.record import Record
from tests.support.harness.servers import Server, environment
from tests.support.providers.upstream import Scenario, Upstream

ENDLESS = 1000  # megabytes; far fewer are in buffers before the cut is seen

TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
DEEP = b"[" * 100_000 + b"]" * 100_000
GO = {"message": {"content": "go"}}


class Place:
    """Server before a model that can go wrong."""

    def __init__(self, server: Server, upstream: Upstream, database: Path) -> None:
        self.server = server
        self.upstream = upstream
        self.database = database

    async def post(self, path: str, body: Any, **options: Any) -> Response:
        return await raw_http.send_request(self.server.url, "POST", f"/v1/{path}", body, **options)

    async def get(self, path: str, **query: Any) -> Response:
        return await raw_http.send_request(self.server.url, "GET", f"/v1/{path}", query=query)

    async def thread(self) -> str:
        return str((await self.post("threads", {})).json["id"])

    async def turn(self, model: str, **fields: Any) -> list[raw_http.ServerEvent]:
        body = {**GO, "model": f"quirk:{model}", **fields}
        return await raw_http.read_turn(self.server.url, "/v1/process", body)


@pytest.fixture
async def place(serve: Any, upstream: Upstream, tmp_path: Path) -> AsyncIterator[Place]:
    """Check after each test that the same process answers, and that the database is intact."""
    server = await serve(ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:ok")
    place = Place(server, upstream, tmp_path / "antiphon.db")
    yield place
    assert server.alive
    assert (await place.turn("ok"))[-1].json["status"] == "completed"
    verdict = judge(Record(), final_state.load(place.database))
    assert not any(verdict.numbers.values()), str(verdict)
    assert not upstream.rejected


BODIES: list[tuple[str, bytes, int, str]] = [
    ("an unknown field", b'{"titel":"t"}', 422, "invalid_request"),
    ("a wrong type", b'{"title":5}', 422, "invalid_request"),
    ("no object", b'["title"]', 422, "invalid_request"),
    ("broken JSON", b'{"title":', 400, "invalid_request"),
    ("no UTF-8", b'{"title":"\xff"}', 400, "invalid_request"),
    ("a NUL", b'{"title":"a\\u0000b"}', 400, "invalid_request"),
    ("a lone surrogate", b'{"title":"a\\ud800b"}', 400, "invalid_request"),
    ("a deep value", b'{"title":' + DEEP + b"}", 413, "too_large"),
    ("a deep unknown field", b'{"x":' + DEEP + b"}", 413, "too_large"),
    ("openings alone", b'{"x":' + b"[" * 100_000, 413, "too_large"),
    ("a huge number", b'{"metadata":{"a":' + b"1" * 5000 + b"}}", 422, "invalid_request"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [case[1:] for case in BODIES],
    ids=[case[0] for case in BODIES],
)
async def test_a_bad_body_is_refused(place: Place, body: bytes, status: int, code: str) -> None:
    answer = await place.post("threads", body)

    assert (answer.status, answer.json["code"]) == (status, code), answer.body[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await place.get("threads")).json["data"] == []


async def test_fifty_megabytes_are_refused_before_they_are_read(place: Place) -> None:
    thread_id = await place.thread()
    reader, writer = await asyncio.open_connection(*_host(place.server.url))
    head = "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 52428800\r\n"
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode())
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"\r\n")
    writer.close()

    assert b" 413 " in answer
    assert (await place.get("messages", thread_id=thread_id)).json["data"] == []


async def test_a_body_without_end_that_does_not_say_so_is_cut_off(place: Place) -> None:
    reader, writer = await asyncio.open_connection(*_host(place.server.url))
    writer.write(b"POST /v1/threads HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n")
    writer.write(b"Content-Type: application/json\r\n\r\n")
    answer_task = asyncio.create_task(reader.read(100))
    sent_megabytes = 0
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    async with asyncio.timeout(60):
        while sent_megabytes < ENDLESS and not answer_task.done():
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
            sent_megabytes += 1
        answer = await answer_task
    writer.close()

    assert b" 413 " in answer
    assert sent_megabytes < ENDLESS


@pytest.mark.parametrize("where", ["Idempotency-Key", "Last-Event-ID", "Authorization", "X-Any"])
async def test_a_header_of_a_megabyte_is_refused(place: Place, where: str) -> None:
    reader, writer = await asyncio.open_connection(*_host(place.server.url))
    writer.write(
        f"GET /v1/threads HTTP/1.1\r\nHost: 127.0.0.1\r\n{where}: {'x' * 2**20}\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"\r\n")
    writer.close()

    assert b" 431 " in answer


async def test_an_output_for_a_call_that_nobody_made_is_refused(place: Place) -> None:
    turn_events = await place.turn("t_normal", tools=TOOLS)
    body = {"run_id": turn_events[0].json["run_id"], "tool_call_id": "call_x", "output": "42"}

    answer = await place.post("submit_tool_output", body)

    assert (answer.status, answer.json["code"]) == (404, "unknown_tool_call")
    actions = (await place.get("actions", run_id=body["run_id"])).json["data"]
    assert [action["status"] for action in actions] == ["pending"]


async def test_another_output_is_refused_and_the_first_stays(place: Place) -> None:
    turn_events = await place.turn("t_normal", tools=TOOLS)
    run_id = turn_events[0].json["run_id"]
    (action,) = (await place.get("actions", run_id=run_id)).json["data"]
    body = {"run_id": run_id, "tool_call_id": action["tool_call_id"]}

    first = await place.post("submit_tool_output", {**body, "output": "42"})
    conflict = await place.post("submit_tool_output", {**body, "output": "43"})
    repeated = await place.post("submit_tool_output", {**body, "output": "42"})

    assert (first.status, conflict.status, repeated.status) == (200, 409, 200)
    assert conflict.json["code"] == "output_conflict"
    assert first.body == repeated.body


async def test_a_second_run_in_a_busy_thread_is_refused_with_the_first_ones_id(
    place: Place,
) -> None:
    turn_events = await place.turn("t_normal", tools=TOOLS)
    run = turn_events[0].json

    second = await place.post("runs", {"thread_id": run["thread_id"]})
    message = await place.post("messages", {"thread_id": run["thread_id"], "content": "hi"})
    process = await place.post("process", {**GO, "thread_id": run["thread_id"]})

    for answer in (second, message, process):
        assert (answer.status, answer.json["code"]) == (409, "run_active")
        assert answer.json["run_id"] == run["run_id"]


async def test_a_request_that_may_wait_waits_for_the_first_run(place: Place) -> None:
    first = (await place.turn("t_normal", tools=TOOLS))[0].json
    body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting_request = asyncio.create_task(place.post("runs", body))
    done, _ = await asyncio.wait([waiting_request], timeout=0.3)
    assert not done

    await place.post(f"runs/{first['run_id']}/cancel", {})
    answer = await waiting_request

    assert answer.status == 201
    assert answer.json["id"] != first["run_id"]


async def test_nobody_asks_for_the_next_turn_before_the_outputs_are_there(place: Place) -> None:
    run_id = (await place.turn("t_normal", tools=TOOLS))[0].json["run_id"]

    answer = await place.post("completions", {"run_id": run_id})

    assert (answer.status, answer.json["code"]) == (409, "outputs_missing")
    assert len(answer.json["tool_call_ids"]) == 1


async def test_an_ended_run_takes_nothing_more(place: Place) -> None:
    run_id = (await place.turn("t_normal", tools=TOOLS))[0].json["run_id"]
    (action,) = (await place.get("actions", run_id=run_id)).json["data"]
    await place.post(f"runs/{run_id}/cancel", {})

    body = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "42"}
    output = await place.post("submit_tool_output", body)
    turn = await place.post("completions", {"run_id": run_id})
    cancel = await place.post(f"runs/{run_id}/cancel", {})

    assert (output.status, output.json["code"]) == (409, "run_ended")
    assert (turn.status, turn.json["code"]) == (409, "run_ended")
    assert (cancel.status, cancel.json["status"]) == (200, "cancelled")


async def test_one_key_for_two_bodies_is_refused(place: Place) -> None:
    key = {"Idempotency-Key": "k"}

    first = await place.post("threads", {"title": "one"}, headers=key)
    conflict = await place.post("threads", {"title": "two"}, headers=key)
    repeated = await place.post("threads", {"title": "one"}, headers=key)

    assert (first.status, conflict.status, repeated.status) == (201, 409, 201)
    assert conflict.json["code"] == "idempotency_conflict"
    assert first.json == repeated.json


PROVIDER_FAULTS = [
    ("401", "failed", "provider_auth"),
    ("404_text", "failed", "provider_rejected"),
    ("429", "failed", "provider_rate_limited"),
    ("500", "failed", "provider_unavailable"),
    ("err_midstream", "failed", "provider_error"),
    ("http200_html", "failed", "provider_protocol"),
    ("broken_json", "failed", "provider_protocol"),
    ("no_finish_no_done", "incomplete", "disconnected"),
    ("reset_mid", "incomplete", "disconnected"),
    ("length", "incomplete", "length"),
    ("t_invalid_json", "failed", "invalid_tool_call"),
]


@pytest.mark.parametrize(("quirk", "status", "code"), PROVIDER_FAULTS)
async def test_a_provider_that_fails_ends_the_run_and_says_why(
    place: Place, quirk: str, status: str, code: str
) -> None:
    turn_events = await place.turn(quirk, tools=TOOLS)

    last_status = [each.json for each in turn_events if each.type == "run.status"][-1]
    run = (await place.get(f"runs/{last_status['run_id']}")).json
    for each in (last_status, run):
        assert each["status"] == status
        assert (each.get("error") or {"code": each.get("reason")})["code"] == code
    assert turn_events[-1].type == "turn.ended"
    # The user's message is there, and the thread takes the next message.
    body = {**GO, "thread_id": last_status["thread_id"], "model": "quirk:ok"}
    assert (await raw_http.read_turn(place.server.url, "/v1/process", body))[-1].json[
        "status"
    ] == "completed"


async def test_a_provider_that_asks_to_wait_is_asked_again(place: Place) -> None:
    turn_events = await place.turn("429_once")

    assert turn_events[-1].json["status"] == "completed"
    assert len(place.upstream.requests) == 2


async def test_a_silent_provider_ends_the_run_as_stalled(serve: Any, upstream: Upstream) -> None:
    server = await serve(
        ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:stall", ANTIPHON_CHUNK_TIMEOUT="1"
    )

    turn_events = await raw_http.read_turn(server.url, "/v1/process", GO)

    assert (turn_events[-1].json["status"], turn_events[-1].json["reason"]) == (
        "incomplete",
        "stalled",
    )
    request = await upstream.wait_for_request(1)
    async with asyncio.timeout(20):
        await request.done.wait()
    assert request.closed


async def test_a_key_that_is_refused_upstream_is_told_to_nobody(serve: Any) -> None:
    async with Upstream() as upstream:
        server = await serve(
            ANTIPHON_BASE_URL=upstream.url,
            ANTIPHON_MODEL="quirk:401",
            ANTIPHON_PROVIDER_KEY="sk-canary-0123456789",
        )
        turn_events = await raw_http.read_turn(server.url, "/v1/process", GO)
        await server.stop_cleanly()

    assert turn_events[-1].json["status"] == "failed"
    assert b"canary" not in b"".join(each.data for each in turn_events)
    assert "canary" not in "\n".join(server.said)
    assert "canary" in upstream.requests[0].headers["authorization"]


async def test_a_reader_who_leaves_in_the_middle_leaves_the_run_alone(place: Place) -> None:
    place.upstream.scenarios["slow"] = Scenario(place.upstream.scenarios["ok"].body, gated=True)
    body = {**GO, "model": "quirk:slow"}
    async with (
        raw_http.open_request(place.server.url, "POST", "/v1/process", body) as stream,
        aclosing(stream.events()) as events,
    ):
        run_id = json.loads((await anext(events)).data)["run_id"]
    place.upstream.gate.set()

    turn_events = await raw_http.follow_run(place.server.url, run_id)

    assert turn_events[-1].json["status"] == "completed"


# The matrix of tenants asks the same of every call, with every credential.
@pytest.mark.soak
async def test_another_owners_things_are_as_if_they_had_never_been(
    serve: Any, upstream: Upstream, tmp_path: Path
) -> None:
    keys = {name: await _create_key(tmp_path / "antiphon.db", name) for name in ("alice", "bob")}
    server = await serve(ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:t_normal")

    def bearer(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys[name]}"}

    turn_events = await raw_http.read_turn(
        server.url, "/v1/process", {**GO, "tools": TOOLS}, headers=bearer("alice")
    )
    run = turn_events[0].json
    (action,) = next(each.json for each in turn_events if each.type == "action.required")["actions"]
    output = {"tool_call_id": action["tool_call_id"], "output": "mine"}
    requests = [
        ("GET", f"/v1/threads/{run['thread_id']}", None),
        ("GET", f"/v1/messages?thread_id={run['thread_id']}", None),
        ("GET", f"/v1/runs/{run['run_id']}", None),
        ("GET", f"/v1/runs/{run['run_id']}/events", None),
        ("GET", f"/v1/actions/{action['action_id']}", None),
        ("POST", "/v1/messages", {"thread_id": run["thread_id"], "content": "hi"}),
        ("POST", "/v1/runs", {"thread_id": run["thread_id"]}),
        ("POST", "/v1/process", {**GO, "thread_id": run["thread_id"]}),
        ("POST", "/v1/completions", {"run_id": run["run_id"]}),
        ("POST", "/v1/submit_tool_output", {"run_id": run["run_id"], **output}),
        ("POST", f"/v1/runs/{run['run_id']}/cancel", {}),
        ("DELETE", f"/v1/threads/{run['thread_id']}", None),
    ]
    for method, path, body in requests:
        answer = await raw_http.send_request(server.url, method, path, body, headers=bearer("bob"))
        assert (answer.status, answer.json["code"]) == (404, "not_found"), (path, answer.body)
        anonymous_answer = await raw_http.send_request(server.url, method, path, body)
        assert anonymous_answer.status == 401

    body = {"run_id": run["run_id"], **output}
    path = "/v1/submit_tool_output"
    alice_answer = await raw_http.send_request(
        server.url, "POST", path, body, headers=bearer("alice")
    )
    assert alice_answer.json["output"] == "mine"


async def _create_key(database: Path, owner: str) -> str:
    """Create a key as the command line does, and return it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "antiphon", "keys", "create", "--owner", owner, "a test"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment({"ANTIPHON_DATABASE": f"sqlite:///{database}"}),
    )
    output, _ = await process.communicate()
    return next(word for word in output.decode().split() if word.startswith("ak_"))


def _host(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
