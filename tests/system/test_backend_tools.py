"""MCP servers that the backend runs, through real processes: off, configured, killed in a call."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.harness.raw_http import ServerEvent

SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
FREE = {"name": "far", "require_approval": "never"}
DEADLINE = 60.0


class FarServer:
    """Settings of the MCP server, and the calls that it got."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "calls"
        self._config = folder / "mcp.json"
        os.mkfifo(f"{self.log}.go")
        far = {"command": sys.executable, "args": ["-I", str(SERVER), str(self.log)]}
        servers = {"far": {**far, "backend": True}, "private": far}
        self._config.write_text(json.dumps({"mcpServers": servers}))

    @property
    def settings(self) -> Mapping[str, str]:
        return {"ANTIPHON_CONFIG": str(self._config), "ANTIPHON_BACKEND_MCP": "configured"}

    @property
    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def wait_for_calls(self, times: int) -> None:
        """Wait until it was called so often."""
        while not self.log.exists() or len(self.calls) < times:
            await asyncio.sleep(0.02)

    async def let_calls_end(self) -> None:
        """Let every call that lingers end."""
        await asyncio.to_thread(Path(f"{self.log}.go").write_text, "go")


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[FarServer]:
    async with asyncio.timeout(DEADLINE):
        yield FarServer(tmp_path)


def request_body(text: str, **fields: Any) -> dict[str, Any]:
    return {"message": {"content": text}, "mcp_servers": [FREE], **fields}


def text_of(turn_events: list[ServerEvent]) -> str:
    return "".join(each.json["text"] for each in turn_events if each.type == "text.delta")


async def test_a_run_uses_a_server_of_the_operators_over_http(
    serve: Callable[..., Any], far: FarServer
) -> None:
    server = await serve(**far.settings)
    turn_events = await raw_http.read_turn(server.url, "/v1/process", request_body("Use far look."))
    run_id = turn_events[0].json["run_id"]

    assert "16:35" in text_of(turn_events)
    assert [each.type for each in turn_events].count("turn.ended") == 1
    actions = (await raw_http.send_request(server.url, "GET", f"/v1/actions?run_id={run_id}")).json[
        "data"
    ]
    assert [(a["name"], a["runs_on"], a["status"]) for a in actions] == [
        ("far__look", "server", "completed")
    ]
    assert [each["_meta"]["antiphon/call-id"] for each in far.calls] == [actions[0]["id"]]
    assert await raw_http.follow_run(server.url, run_id) == turn_events


async def test_a_call_waits_for_its_approval_over_http(
    serve: Callable[..., Any], far: FarServer
) -> None:
    server = await serve(**far.settings)
    body = request_body("Use far look.", mcp_servers=[{"name": "far"}])
    turn_events = await raw_http.read_turn(server.url, "/v1/process", body)
    run_id = turn_events[0].json["run_id"]
    (manifest,) = [each.json for each in turn_events if each.type == "action.required"]
    (action,) = manifest["actions"]
    assert (action["kind"], action["server"]) == ("approval", "far")
    output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "16:35"}
    refusal = await raw_http.send_request(server.url, "POST", "/v1/submit_tool_output", output)
    assert (refusal.status, refusal.json["code"]) == (422, "invalid_request")
    assert '{"approve": true}' in refusal.json["expected"]
    approval = {**output, "output": '{"approve": true}'}
    assert (
        await raw_http.send_request(server.url, "POST", "/v1/submit_tool_output", approval)
    ).status == 200
    assert not far.log.exists()
    answer = await raw_http.read_turn(server.url, "/v1/process", {"run_id": run_id})

    assert "16:35" in text_of(answer)
    assert len(far.calls) == 1


async def test_a_server_that_is_killed_in_a_call_is_replaced_and_the_call_is_made_again(
    serve: Callable[..., Any], far: FarServer
) -> None:
    settings = {
        "ANTIPHON_LEASE_DURATION": "4",
        "ANTIPHON_EXPIRY_INTERVAL": "0.2",
        "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
    }
    first = await serve(**far.settings, **settings)
    turn_events: list[ServerEvent] = []
    async with raw_http.open_request(
        first.url, "POST", "/v1/process", request_body("Use far linger.")
    ) as stream:
        async with aclosing(stream.events()) as events:
            async for each in events:
                turn_events.append(each)
                if each.type == "message.completed":
                    break
        await far.wait_for_calls(1)
        await first.kill()
    run_id = turn_events[0].json["run_id"]
    second = await serve(**far.settings, **settings)
    await far.wait_for_calls(2)
    await far.let_calls_end()
    later_events = await raw_http.follow_run(second.url, run_id, turn_events[-1].number)

    all_events = [*turn_events, *later_events]
    assert [each.number for each in all_events] == list(range(1, len(all_events) + 1))
    assert all_events == await raw_http.follow_run(second.url, run_id)
    assert later_events[-1].json["status"] == "completed"
    outputs = [each.json["output"] for each in all_events if each.type == "tool_output.added"]
    assert outputs == ["linger saw 16:35"]
    assert "turn.restarted" not in [each.type for each in all_events]
    first_id, second_id = (each["_meta"]["antiphon/call-id"] for each in far.calls)
    assert first_id == second_id


@pytest.mark.parametrize(
    ("allowed", "mcp_server", "status", "code"),
    [
        ("off", {"name": "far"}, 403, "forbidden"),
        ("off", {"name": "new", "url": "https://mcp.example/"}, 403, "forbidden"),
        ("configured", {"name": "new", "url": "https://mcp.example/"}, 403, "forbidden"),
        ("configured", {"name": "private"}, 422, "invalid_request"),
        ("configured", {"name": "new", "command": "touch"}, 422, "invalid_request"),
        ("urls", {"name": "new", "url": "https://127.0.0.1/"}, 422, "invalid_request"),
        ("urls", {"name": "new", "url": "http://mcp.example/"}, 422, "invalid_request"),
    ],
)
async def test_a_server_that_may_not_be_named_is_refused_in_clear_words(
    serve: Callable[..., Any], far: FarServer, allowed: str, mcp_server: Any, status: int, code: str
) -> None:
    server = await serve(**{**far.settings, "ANTIPHON_BACKEND_MCP": allowed})
    for path, body in (
        ("/v1/process", {"message": {"content": "Hi"}, "mcp_servers": [mcp_server]}),
        ("/v1/assistants", {"mcp_servers": [mcp_server]}),
    ):
        answer = await raw_http.send_request(server.url, "POST", path, body)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.json["detail"]
    assert not (await raw_http.send_request(server.url, "GET", "/v1/runs")).json["data"]


@pytest.mark.parametrize(
    ("point", "calls"),
    [
        pytest.param("finalize.before_commit", 1, marks=pytest.mark.soak),
        ("finalize.after_commit", 1),
        pytest.param("tools.before_call", 1, marks=pytest.mark.soak),
        ("result.before_commit", 2),
        ("result.after_commit", 1),
        pytest.param("result.before_wake", 1, marks=pytest.mark.soak),
        pytest.param("finalize.before_commit:kill@2", 1, marks=pytest.mark.soak),
    ],
)
async def test_wherever_a_server_dies_each_call_has_one_output(
    serve: Callable[..., Any], far: FarServer, point: str, calls: int
) -> None:
    """Only between the call and its output being kept is a tool run again, under the same id."""
    settings = {
        "ANTIPHON_LEASE_DURATION": "4",
        "ANTIPHON_EXPIRY_INTERVAL": "0.2",
        "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
    }
    failpoint = point if ":" in point else f"{point}:kill"
    first = await serve(**far.settings, **settings, FAILPOINTS=failpoint)
    body = request_body("Use far look.", background=True)
    await raw_http.send_fatal_request(first.url, "POST", "/v1/process", body)
    await first.end()
    second = await serve(**far.settings, **settings)
    (run,) = (await raw_http.send_request(second.url, "GET", "/v1/runs")).json["data"]
    turn_events = await raw_http.follow_run(second.url, run["id"])

    assert turn_events[-1].json["status"] == "completed"
    assert [each.number for each in turn_events] == list(range(1, len(turn_events) + 1))
    assert [each.type for each in turn_events].count("tool_output.added") == 1
    path = f"/v1/messages?thread_id={run['thread_id']}"
    messages = (await raw_http.send_request(second.url, "GET", path)).json["data"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
    assert len(far.calls) == calls
    assert len({each["_meta"]["antiphon/call-id"] for each in far.calls}) == 1
