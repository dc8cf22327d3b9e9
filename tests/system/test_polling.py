"""`poll_and_execute_action` waits in silence, and acts as soon as there is something to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from antiphon import AsyncClient, Client, ToolSpec
from antiphon.types.runs import Action
from tests.support.harness.flows import proxy
from tests.support.providers.upstream import CALLS, ONE, X1, Scenario, Upstream, call_chunk, sse

SILENCE = 3.0  # seconds in which nothing happens, so that polling would show
TOOL = ToolSpec("f", "", {"type": "object", "properties": {"x": {"type": "integer"}}})

Handler = Callable[[str, dict[str, Any]], Any]


async def poll_on_loop(url: str, run_id: str, handler: Handler) -> list[Action]:
    async with AsyncClient(url) as client:
        return await client.poll_and_execute_action(run_id, handler)


async def poll_in_thread(url: str, run_id: str, handler: Handler) -> list[Action]:
    def poll() -> list[Action]:
        with Client(url) as client:
            return client.poll_and_execute_action(run_id, handler)

    return await asyncio.to_thread(poll)


@pytest.mark.parametrize("poll", [poll_on_loop, poll_in_thread])
async def test_nothing_is_asked_while_nothing_happens_and_then_all_at_once(
    serve: Any, upstream: Upstream, poll: Any
) -> None:
    call = Scenario(sse(call_chunk(**ONE, **X1), CALLS), "action_required", calls=('{"x":1}',))
    upstream.scenarios["later"] = replace(call, gated=True)
    server = await serve(ANTIPHON_BASE_URL=upstream.url, ANTIPHON_MODEL="quirk:later")
    requests: list[str] = []

    def handler(name: str, arguments: dict[str, Any]) -> str:
        return f"{name} {arguments['x']}"

    async with AsyncClient(server.url) as client:
        thread = await client.create_thread()
        await client.create_message(thread.id, "go")
        run = await client.create_run(thread.id, tools=(TOOL,), background=True)
        await upstream.wait_for_request(1)

        def plain(line: str) -> None:
            requests.append(line.partition("?")[0].replace(run.id, "{run}"))

        async with proxy(lambda: server.url, plain) as url, asyncio.timeout(60):
            poll_task = asyncio.create_task(poll(url, run.id, handler))
            while "GET /v1/runs/{run}/events" not in requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(SILENCE)
            in_silence = list(requests)
            upstream.gate.set()
            (action,) = await poll_task

    assert in_silence == ["GET /v1/runs/{run}", "GET /v1/runs/{run}/events"]
    assert [line.replace(action.id, "{action}") for line in requests[2:]] == [
        "GET /v1/runs/{run}",
        "GET /v1/actions",
        "POST /v1/messages",
        "GET /v1/actions/{action}",
    ]
    assert action.output == "f 1"
